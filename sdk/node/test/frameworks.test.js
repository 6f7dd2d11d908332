// The guards of Express and Fastify answer as the server does.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { test } from "node:test";

import express from "express";
import fastify from "fastify";

import { Tessera } from "../dist/index.js";
import { tessera as forExpress } from "../dist/express.js";
import { tessera as forFastify } from "../dist/fastify.js";
import { FakeIssuer } from "../dist/testing.js";

const SERVERS = {
  async express(verifier, context) {
    const { jwtRequired, jwtOptional, freshJwtRequired, scope } = forExpress(verifier);
    const app = express();
    const user = (request, response) => response.json({ user: request.jwt?.sub ?? null });
    app.get("/required", jwtRequired, user);
    app.get("/optional", jwtOptional, user);
    app.get("/fresh", freshJwtRequired, user);
    app.get("/scope", scope("reports"), user);
    const server = app.listen(0, "127.0.0.1");
    await once(server, "listening");
    context.after(() => server.close());
    return server.address().port;
  },
  async fastify(verifier, context) {
    const { jwtRequired, jwtOptional, freshJwtRequired, scope } = forFastify(verifier);
    const app = fastify();
    const user = async (request) => ({ user: request.jwt?.sub ?? null });
    app.get("/required", { onRequest: jwtRequired }, user);
    app.get("/optional", { preHandler: jwtOptional }, user);
    app.get("/fresh", { onRequest: freshJwtRequired }, user);
    app.get("/scope", { onRequest: scope("reports") }, user);
    await app.listen({ port: 0, host: "127.0.0.1" });
    context.after(() => app.close());
    return app.server.address().port;
  },
};

/** `headers` can be a list, with a header twice. */
async function ask(port, path, headers = {}) {
  const sent = request({ port, host: "127.0.0.1", path, headers, agent: false });
  sent.end();
  const [answer] = await once(sent, "response");
  const body = JSON.parse((await answer.toArray()).join(""));
  return [answer.statusCode, body, answer.headers["www-authenticate"], answer.headers["retry-after"]];
}

for (const [name, serve] of Object.entries(SERVERS)) {
  test(`the answers of ${name} are those of the server`, async (context) => {
    const issuer = new FakeIssuer();
    const port = await serve(issuer.serve(new Tessera(issuer.options(), {})), context);
    const with_ = (token) => ({ Authorization: `Bearer ${token}` });
    const token = issuer.token({ sub: "somebody" });
    const user = { user: "somebody" };
    const unauthorized = { detail: "Unauthorized" };
    assert.deepEqual(await ask(port, "/required", with_(token)), [200, user, undefined, undefined]);
    assert.deepEqual(await ask(port, "/optional", with_(token)), [200, user, undefined, undefined]);
    assert.deepEqual(await ask(port, "/optional"), [200, { user: null }, undefined, undefined]);
    assert.deepEqual(await ask(port, "/required"), [401, unauthorized, "Bearer", undefined]);
    const [status, body, challenge] = await ask(port, "/fresh", with_(issuer.token({ fresh: false })));
    assert.deepEqual([status, body], [401, { detail: "FRESH_TOKEN_REQUIRED" }]);
    assert.match(challenge, /^Bearer error="insufficient_user_authentication", .*, max_age="900"$/);
    assert.equal((await ask(port, "/fresh", with_(issuer.token())))[0], 200);
    const scope = [403, { detail: "INSUFFICIENT_SCOPE" }, 'Bearer error="insufficient_scope", scope="reports"', undefined];
    assert.deepEqual(await ask(port, "/scope", with_(issuer.token({ scope: "reports2 xreports" }))), scope);
    assert.equal((await ask(port, "/scope", with_(issuer.token({ scope: "a reports" }))))[0], 200);

    issuer.revoke(token);
    for (const path of ["/required", "/optional", "/fresh", "/scope"]) {
      const [status, body, challenge] = await ask(port, path, with_(token));
      assert.deepEqual([status, body], [401, unauthorized]);
      assert.match(challenge, /^Bearer error="invalid_token", .*reason="token_revoked"$/);
      for (const wrong of ["x", issuer.token({ expiresIn: -1 }), new FakeIssuer().token()]) {
        assert.deepEqual((await ask(port, path, with_(wrong))).slice(0, 2), [401, unauthorized]);
      }
      for (const header of ["Basic eA==", "Bearer", "Bearer ", "bearer"]) {
        assert.equal((await ask(port, path, { Authorization: header }))[0], 401, header);
      }
    }
    const other = issuer.token({ sub: "somebody" });
    const twice = ["Authorization", `Bearer ${other}`, "Authorization", `Bearer ${other}`, "Host", "x"];
    assert.equal((await ask(port, "/required", twice))[0], 401);
    issuer.endSession(other);
    assert.equal((await ask(port, "/required", with_(other)))[0], 401);
    issuer.makeStale();
    assert.deepEqual(await ask(port, "/required", with_(issuer.token())), [503, { detail: "SERVICE_UNAVAILABLE" }, undefined, "1"]);
    assert.equal((await ask(port, "/required", with_(token)))[0], 401);
    issuer.makeFresh();
    const old = issuer.token();
    assert.equal((await ask(port, "/required", with_(old)))[0], 200);
    issuer.rotate();
    assert.equal((await ask(port, "/required", with_(old)))[0], 401);
    assert.equal((await ask(port, "/required", with_(issuer.token())))[0], 200);
    issuer.close();
  });
}
