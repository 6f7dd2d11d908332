// A service in TypeScript: `scripts/sdk` compiles it with the installed package, and with all checks.
import express from "express";
import fastify from "fastify";
import { type Claims, Denied, Tessera } from "tessera-verify";
import { tessera } from "tessera-verify/express";
import { tessera as forFastify } from "tessera-verify/fastify";
import { FakeIssuer } from "tessera-verify/testing";

const guards = tessera({ whenStale: "open" });
const app = express();
app.get("/", guards.jwtRequired, (req, res) => {
  const claims: Claims | undefined = req.jwt;
  res.json({ user: claims?.sub });
});
app.use(guards.scope("reports"));

const { jwtOptional, scope } = forFastify();
const service = fastify();
service.get("/", { onRequest: jwtOptional }, async (request) => ({ user: request.jwt?.sub }));
service.get("/scope", { preHandler: scope("reports") }, async (request) => ({ stale: request.jwt?.stale }));

const issuer = new FakeIssuer();
const verifier: Tessera = issuer.serve(new Tessera(issuer.options()));
try {
  const claims: Claims = await verifier.verify(issuer.token({ sub: "somebody", scope: "reports" }));
  console.log(claims.scopes.join(), claims.extra["email"]);
} catch (error) {
  if (error instanceof Denied) console.log(error.status, error.headers);
}
