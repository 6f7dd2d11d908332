// Verifies a token with third-party libraries, as their documentation says, with the secret, the issuer and the audience:
// `node libraries.mjs TOKEN SECRET [LEEWAY]`. Prints the result of each as JSON: "accepted", or the reason of the refusal.
import { once } from "node:events";
import fastifyJwt from "@fastify/jwt";
import express from "express";
import { expressjwt } from "express-jwt";
import { auth } from "express-oauth2-jwt-bearer";
import fastify from "fastify";
import { jwtVerify } from "jose";
import jsonwebtoken from "jsonwebtoken";
import passport from "passport";
import passportJwt from "passport-jwt";

const [token, secret, leeway] = process.argv.slice(2);
const issuer = "http://localhost:8000";
const audience = "tessera";
const seconds = leeway === undefined ? undefined : Number(leeway);
const bearer = { headers: { authorization: `Bearer ${token}` } };
const results = {};

async function ask(name, verify) {
  try {
    await verify();
    results[name] = "accepted";
  } catch (error) {
    results[name] = error.message;
  }
}

await ask("jose", () => jwtVerify(token, new TextEncoder().encode(secret), {
  algorithms: ["HS256"], issuer, audience, ...(leeway && { clockTolerance: seconds }),
}));
await ask("jsonwebtoken", () => jsonwebtoken.verify(token, secret, {
  algorithms: ["HS256"], issuer, audience, ...(leeway && { clockTolerance: seconds }),
}));

const app = express();
app.use("/express-jwt", expressjwt({
  secret, algorithms: ["HS256"], issuer, audience, ...(leeway && { clockTolerance: seconds }),
}));
app.use("/express-oauth2-jwt-bearer", auth({
  secret, tokenSigningAlg: "HS256", issuer, audience, ...(leeway && { clockTolerance: seconds }),
}));
passport.use(new passportJwt.Strategy({
  jwtFromRequest: passportJwt.ExtractJwt.fromAuthHeaderAsBearerToken(), secretOrKey: secret, algorithms: ["HS256"],
  issuer, audience, ...(leeway && { jsonWebTokenOptions: { clockTolerance: seconds } }),
}, (claims, done) => done(null, claims)));
app.use("/passport-jwt", (request, response, next) => {
  passport.authenticate("jwt", { session: false }, (error, user, info) => {
    next(user ? undefined : error ?? info);
  })(request, response, next);
});
app.use((request, response) => response.send("accepted"));
app.use((error, request, response, next) => response.status(401).send(error.message));
const server = app.listen(0, "127.0.0.1");
await once(server, "listening");
for (const name of ["express-jwt", "express-oauth2-jwt-bearer", "passport-jwt"]) {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/${name}`, bearer);
  results[name] = await answer.text();
}
server.close();

const service = fastify();
service.register(fastifyJwt, {
  secret,
  verify: { algorithms: ["HS256"], allowedIss: issuer, allowedAud: audience, ...(leeway && { clockTolerance: seconds * 1000 }) },
});
service.get("/", async (request) => {
  await request.jwtVerify();
  return "accepted";
});
const answer = await service.inject({ url: "/", ...bearer });
results["@fastify/jwt"] = answer.statusCode === 200 ? answer.body : answer.json().message;
await service.close();

console.log(JSON.stringify(results));
process.exit(0);
