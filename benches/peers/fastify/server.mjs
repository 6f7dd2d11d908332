// An identity service in the usual way on Fastify: @fastify/jwt, better-sqlite3 and bcrypt. Sessions are rows with a
// generation, revoked tokens are rows and a set in memory, and API tokens are digests.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import Fastify from "fastify";
import formbody from "@fastify/formbody";
import jwt from "@fastify/jwt";
import bcrypt from "bcrypt";
import Database from "better-sqlite3";

const { DATABASE, SECRET, BCRYPT_COST, PORT, SYNCHRONOUS } = process.env;
const database = new Database(DATABASE);
database.pragma("journal_mode = WAL");
database.pragma(`synchronous = ${SYNCHRONOUS}`);
database.exec(`
  create table if not exists user (id text primary key, email text unique not null collate nocase, hash text not null);
  create table if not exists session (id text primary key, user text not null, generation integer not null);
  create table if not exists revoked (jti text primary key, until integer not null);
  create table if not exists api_token (digest text primary key, user text not null);`);
const sql = (text) => database.prepare(text);
const byId = sql("select id, email from user where id = ?");
const byEmail = sql("select * from user where email = ?");
const addUser = sql("insert into user values (?, ?, ?)");
const addSession = sql("insert into session values (?, ?, 0)");
const rotate = sql("update session set generation = generation + 1 where id = ? and generation = ?");
const endSession = sql("delete from session where id = ?");
const revoke = sql("insert into revoked values (?, ?)");
const addToken = sql("insert into api_token values (?, ?)");
const byToken = sql("select user.id, email from api_token join user on user.id = user where digest = ?");
const revoked = new Set(sql("select jti from revoked").pluck().all());
const digest = (token) => createHash("sha256").update(token).digest("hex");
const body = (user) => ({
  email: user.email, id: user.id, is_active: true, is_superuser: false, is_verified: false,
});

const app = Fastify();
app.register(formbody);
app.register(jwt, { secret: SECRET });
const sign = (sub, sid, generation) => ({
  access_token: app.jwt.sign({ sub, sid, type: "access", jti: randomUUID() }, { expiresIn: "1d" }),
  refresh_token: app.jwt.sign({ sub, sid, generation, type: "refresh" }, { expiresIn: "30d" }),
  token_type: "bearer",
});

/** Verifies the bearer token of a request, and looks whether it was revoked. */
async function verified(request, type) {
  const claims = await request.jwtVerify();
  if (claims.type !== type || revoked.has(claims.jti)) throw app.httpErrors401();
  return claims;
}
app.decorate("httpErrors401", () => Object.assign(new Error("unauthorized"), { statusCode: 401 }));

app.post("/auth/register", async (request, reply) => {
  const { email, password } = request.body;
  const hash = await bcrypt.hash(password, Number(BCRYPT_COST));
  const user = { id: randomUUID(), email };
  addUser.run(user.id, email, hash);
  return reply.code(201).send(body(user));
});
app.post("/auth/jwt/login", async (request) => {
  const { username, password } = request.body;
  const user = byEmail.get(username);
  if (!user || !(await bcrypt.compare(password, user.hash))) throw app.httpErrors401();
  const session = randomUUID();
  addSession.run(session, user.id);
  return sign(user.id, session, 0);
});
app.get("/users/me", async (request) => {
  const token = request.headers.authorization?.slice("Bearer ".length) ?? "";
  if (token.startsWith("api_")) {
    const user = byToken.get(digest(token));
    if (!user) throw app.httpErrors401();
    return body(user);
  }
  const user = byId.get((await verified(request, "access")).sub);
  if (!user) throw app.httpErrors401();
  return body(user);
});
app.post("/auth/jwt/refresh", async (request) => {
  const { sub, sid, generation } = await verified(request, "refresh");
  if (rotate.run(sid, generation).changes !== 1) throw app.httpErrors401();
  return sign(sub, sid, generation + 1);
});
const end = database.transaction(({ sid, jti, exp }) => {
  endSession.run(sid);
  revoke.run(jti, exp);
});
app.post("/auth/jwt/logout", async (request, reply) => {
  const claims = await verified(request, "access");
  end(claims);
  revoked.add(claims.jti);
  return reply.code(204).send();
});
app.post("/auth/introspect", async (request) => {
  const client = byToken.get(digest(request.headers.authorization?.slice("Bearer ".length) ?? ""));
  if (!client) throw app.httpErrors401();
  try {
    const claims = app.jwt.verify(request.body.token);
    return revoked.has(claims.jti) ? { active: false } : { active: true, ...claims };
  } catch {
    return { active: false };
  }
});
app.post("/auth/api-tokens", async (request, reply) => {
  const { sub } = await verified(request, "access");
  const token = `api_${randomBytes(32).toString("base64url")}`;
  addToken.run(digest(token), sub);
  return reply.code(201).send({ token });
});

await app.listen({ host: "127.0.0.1", port: Number(PORT) });
