// An Express service that accepts Tessera's tokens. Start it with `examples/run express`.
import express from "express";
import { tessera } from "tessera-verify/express";

const { jwtRequired, jwtOptional, freshJwtRequired, scope, verifier } = tessera();
const app = express();

app.get("/protected", jwtRequired, (req, res) => res.json({ user: req.jwt.sub }));
app.get("/partially-protected", jwtOptional, (req, res) => res.json({ user: req.jwt?.sub ?? null }));
app.get("/protected-fresh", freshJwtRequired, (req, res) => res.json({ user: req.jwt.sub }));
app.get("/reports", scope("reports"), (req, res) => res.json({ user: req.jwt.sub }));
app.get("/metrics", (req, res) => res.type("text/plain").send(verifier.metrics()));
app.listen(Number(process.env.PORT ?? 8001), "127.0.0.1");
