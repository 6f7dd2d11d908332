// Does the walk-through with openapi-fetch and the types that openapi-typescript generated: `node walk_through.js URL`.
// The compiler checks every path, body and answer. Prints the e-mail address of the user.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Tokens = components["schemas"]["Tokens"];

const client = createClient<paths>({ baseUrl: process.argv[2] });
const [email, password] = ["typescript@user.com", "correct horse battery"];

function given<T>(what: string, { data, error }: { data?: T; error?: unknown }): T {
  if (data === undefined) throw new Error(`${what}: ${JSON.stringify(error)}`);
  return data;
}

const user = given("register", await client.POST("/auth/register", { body: { email, password } }));
const again = await client.POST("/auth/register", { body: { email, password } });
if (again.error?.detail !== "REGISTER_USER_ALREADY_EXISTS") throw new Error(JSON.stringify(again));

let tokens: Tokens = given("login", await client.POST("/auth/jwt/login", {
  body: { username: email, password },
  headers: { "Content-Type": "application/x-www-form-urlencoded" },
}));
const bearer = () => ({ headers: { Authorization: `Bearer ${tokens.access_token}` } });
const me = given("me", await client.GET("/users/me", bearer()));
if (me.id !== user.id) throw new Error(JSON.stringify(me));

tokens = given("refresh", await client.POST("/auth/jwt/refresh", { body: { refresh_token: tokens.refresh_token } }));
const left = await client.POST("/auth/jwt/logout", bearer());
if (left.response.status !== 204) throw new Error(`logout: ${left.response.status}`);
const refused = await client.GET("/users/me", bearer());
if (refused.error?.detail !== "Unauthorized") throw new Error(JSON.stringify(refused));
console.log(me.email);
