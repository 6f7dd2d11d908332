// The provider oidc-provider in its usual way, with an adapter on better-sqlite3. Whoever asks is signed in and consents.
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import Database from "better-sqlite3";
import { Provider } from "oidc-provider";

const { DATABASE, SECRET, PORT, REDIRECT, API } = process.env;
const database = new Database(DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = full");
database.exec(`
  create table if not exists item (
    id text not null, model text not null, payload text not null, grant_id text, uid text, user_code text,
    expires integer, primary key (model, id));
  create index if not exists item_grant on item (grant_id);
  create index if not exists item_uid on item (model, uid);`);
const sql = (text) => database.prepare(text);
const put = sql("insert or replace into item values (?, ?, ?, ?, ?, ?, ?)");
const byId = sql("select payload from item where model = ? and id = ? and (expires is null or expires > ?)");
const byUid = sql("select payload from item where model = ? and uid = ?");
const byCode = sql("select payload from item where model = ? and user_code = ?");
const consume = sql("update item set payload = json_set(payload, '$.consumed', ?) where model = ? and id = ?");
const remove = sql("delete from item where model = ? and id = ?");
const removeGrant = sql("delete from item where grant_id = ?");
const now = () => Math.floor(Date.now() / 1000);
const read = (row) => row && JSON.parse(row.payload);

class Adapter {
  constructor(model) {
    this.model = model;
  }
  async upsert(id, payload, expiresIn) {
    const { grantId = null, uid = null, userCode = null } = payload;
    put.run(id, this.model, JSON.stringify(payload), grantId, uid, userCode, expiresIn ? now() + expiresIn : null);
  }
  async find(id) {
    return read(byId.get(this.model, id, now()));
  }
  async findByUid(uid) {
    return read(byUid.get(this.model, uid));
  }
  async findByUserCode(code) {
    return read(byCode.get(this.model, code));
  }
  async consume(id) {
    consume.run(now(), this.model, id);
  }
  async destroy(id) {
    remove.run(this.model, id);
  }
  async revokeByGrantId(id) {
    removeGrant.run(id);
  }
}

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  adapter: Adapter,
  clients: [{
    client_id: "bench",
    client_secret: SECRET,
    redirect_uris: [REDIRECT],
    grant_types: ["authorization_code", "refresh_token", "client_credentials"],
    response_types: ["code"],
  }],
  cookies: { keys: [SECRET] },
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), alg: "RS256", use: "sig" }] },
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  scopes: ["openid", "offline_access", "jobs:run"],
  pkce: { required: () => true },
  findAccount: async (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: "ada@example.com", email_verified: true }),
  }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: async () => true,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: async () => ({
        scope: "jobs:run",
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
        audience: API,
      }),
    },
  },
});

async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    return provider.interactionFinished(request, response, { login: { accountId: "ada" } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const grantId = await grant.save();
  await provider.interactionFinished(request, response, { consent: { grantId } }, { mergeWithLastSubmission: true });
}

const answer = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  interact(request, response).catch((error) => {
    response.statusCode = 500;
    response.end(String(error));
  });
}).listen(Number(PORT), "127.0.0.1");
