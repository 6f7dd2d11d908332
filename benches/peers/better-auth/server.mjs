// better-auth as its documentation sets it up: e-mail and password, better-sqlite3. The hash is bcrypt, as in the other
// peers, instead of its scrypt.
import { createServer } from "node:http";
import bcrypt from "bcrypt";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import Database from "better-sqlite3";

const { DATABASE, SECRET, BCRYPT_COST, PORT, SYNCHRONOUS } = process.env;
const database = new Database(DATABASE);
database.pragma("journal_mode = WAL");
database.pragma(`synchronous = ${SYNCHRONOUS}`);
const auth = betterAuth({
  database,
  secret: SECRET,
  baseURL: `http://127.0.0.1:${PORT}`,
  emailAndPassword: {
    enabled: true,
    password: {
      hash: (password) => bcrypt.hash(password, Number(BCRYPT_COST)),
      verify: ({ hash, password }) => bcrypt.compare(password, hash),
    },
  },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
});
const { runMigrations } = await getMigrations(auth.options);
await runMigrations();
createServer(toNodeHandler(auth)).listen(Number(PORT), "127.0.0.1");
