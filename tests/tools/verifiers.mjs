// Verifies a token with third-party libraries, with the configuration that the guide has for each:
// `node verifiers.mjs TOKEN ALGORITHM SECRET` or `node verifiers.mjs TOKEN ALGORITHM PEM JWKS_URL`. Prints the result of
// each as JSON: "accepted", or the reason of the refusal. A library that cannot use the kind of key is left out.
import { once } from "node:events";
import fastifyJwt from "@fastify/jwt";
import express from "express";
import { expressjwt } from "express-jwt";
import { auth } from "express-oauth2-jwt-bearer";
import { createVerifier } from "fast-jwt";
import fastify from "fastify";
import { createRemoteJWKSet, jwtVerify } from "jose";
import jsonwebtoken from "jsonwebtoken";
import passport from "passport";
import passportJwt from "passport-jwt";

const [token, algorithm, key, jwksUrl] = process.argv.slice(2);
const issuer = "http://localhost:8000";
const audience = "tessera";
const bearer = { headers: { authorization: `Bearer ${token}` } };
const results = {};

function mustBeAccess(claims) {
  if (claims.type !== "access") throw new Error("not an access token");
}

async function ask(name, verify) {
  try {
    mustBeAccess(await verify());
    results[name] = "accepted";
  } catch (error) {
    results[name] = error.message;
  }
}

await ask("jose", async () => {
  const keys = jwksUrl ? createRemoteJWKSet(new URL(jwksUrl)) : new TextEncoder().encode(key);
  return (await jwtVerify(token, keys, { algorithms: [algorithm], issuer, audience, requiredClaims: ["exp"] })).payload;
});
await ask("fast-jwt", () => createVerifier({
  key, algorithms: [algorithm], allowedIss: issuer, allowedAud: audience, requiredClaims: ["exp"],
})(token));

const app = express();
const paths = [];
function guard(name, ...handlers) {
  paths.push(name);
  app.use(`/${encodeURIComponent(name)}`, ...handlers);
}
// jsonwebtoken, and the libraries that use it, know no EdDSA.
if (algorithm !== "EdDSA") {
  await ask("jsonwebtoken", () => jsonwebtoken.verify(token, key, { algorithms: [algorithm], issuer, audience }));
  guard("express-jwt", expressjwt({ secret: key, algorithms: [algorithm], issuer, audience }));
  passport.use(new passportJwt.Strategy({
    jwtFromRequest: passportJwt.ExtractJwt.fromAuthHeaderAsBearerToken(), secretOrKey: key, algorithms: [algorithm],
    issuer, audience,
  }, (claims, done) => done(null, claims)));
  guard("passport-jwt", (request, response, next) => {
    passport.authenticate("jwt", { session: false }, (error, user, info) => {
      request.auth = user;
      next(user ? undefined : error ?? info);
    })(request, response, next);
  });
}
guard("express-oauth2-jwt-bearer", auth({
  ...(jwksUrl ? { jwksUri: jwksUrl } : { secret: key }), tokenSigningAlg: algorithm, issuer, audience,
}));
app.use((request, response) => {
  mustBeAccess(request.auth.payload ?? request.auth);
  response.send("accepted");
});
app.use((error, request, response, next) => response.status(401).send(error.message));
const server = app.listen(0, "127.0.0.1");
await once(server, "listening");
for (const name of paths) {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/${encodeURIComponent(name)}`, bearer);
  results[name] = await answer.text();
}
server.close();

const service = fastify();
service.register(fastifyJwt, {
  secret: jwksUrl ? { public: key } : key,
  verify: { algorithms: [algorithm], allowedIss: issuer, allowedAud: audience, requiredClaims: ["exp"] },
});
service.get("/", async (request) => {
  await request.jwtVerify();
  mustBeAccess(request.user);
  return "accepted";
});
const answer = await service.inject({ url: "/", ...bearer });
results["@fastify/jwt"] = answer.statusCode === 200 ? answer.body : answer.json().message;
await service.close();

console.log(JSON.stringify(results));
process.exit(0);
