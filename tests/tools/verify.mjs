// Verifies a token with jose: `node verify.mjs TOKEN ALGORITHM [SECRET | JWKS_URL]`. Prints the id of the user.
import { createRemoteJWKSet, jwtVerify } from "jose";

const [token, algorithm, key] = process.argv.slice(2);
const keys = key.startsWith("http") ? createRemoteJWKSet(new URL(key)) : new TextEncoder().encode(key);
const { payload } = await jwtVerify(token, keys, {
  algorithms: [algorithm],
  audience: "tessera",
  issuer: "http://localhost:8000",
  requiredClaims: ["exp", "iat", "nbf", "sub", "jti"],
});
console.log(payload.sub);
