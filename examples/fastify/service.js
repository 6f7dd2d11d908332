// A Fastify service that accepts Tessera's tokens. Start it with `examples/run fastify`.
import fastify from "fastify";
import { tessera } from "tessera-verify/fastify";

const { jwtRequired, jwtOptional, freshJwtRequired, scope, verifier } = tessera();
const app = fastify();

app.get("/protected", { onRequest: jwtRequired }, async (request) => ({ user: request.jwt.sub }));
app.get("/partially-protected", { onRequest: jwtOptional }, async (request) => ({ user: request.jwt?.sub ?? null }));
app.get("/protected-fresh", { onRequest: freshJwtRequired }, async (request) => ({ user: request.jwt.sub }));
app.get("/reports", { onRequest: scope("reports") }, async (request) => ({ user: request.jwt.sub }));
app.get("/metrics", async (request, reply) => reply.type("text/plain").send(verifier.metrics()));
await app.listen({ port: Number(process.env.PORT ?? 8001), host: "127.0.0.1" });
