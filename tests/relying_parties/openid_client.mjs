// An application with openid-client: it signs people in, reads their claims, refreshes and revokes.
//
// usage: node openid_client.mjs ISSUER CLIENT_ID CLIENT_SECRET PORT
import { createServer } from 'node:http'
import * as client from 'openid-client'

const [issuer, id, secret, port] = process.argv.slice(2)
const redirect = `http://localhost:${port}/callback`
const config = await client.discovery(new URL(issuer), id, secret, undefined, {
  execute: [client.allowInsecureRequests],
})
const waiting = new Map()

async function begin(response) {
  const verifier = client.randomPKCECodeVerifier()
  const [state, nonce] = [client.randomState(), client.randomNonce()]
  waiting.set(state, { verifier, nonce })
  const place = client.buildAuthorizationUrl(config, {
    redirect_uri: redirect,
    scope: 'openid email profile offline_access',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  })
  response.writeHead(302, { location: place.href }).end()
}

async function finish(url, response) {
  const state = url.searchParams.get('state')
  const { verifier, nonce } = waiting.get(state)
  const tokens = await client.authorizationCodeGrant(config, url, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    idTokenExpected: true,
  })
  const claims = tokens.claims()
  const user = await client.fetchUserInfo(config, tokens.access_token, claims.sub)
  const next = await client.refreshTokenGrant(config, tokens.refresh_token)
  const active = await client.tokenIntrospection(config, next.access_token)
  await client.tokenRevocation(config, next.refresh_token)
  const ended = await client.tokenIntrospection(config, next.access_token)
  const own = await client.clientCredentialsGrant(config).catch((error) => error.error)
  const seen = {
    email: user.email,
    sub: claims.sub === user.sub,
    refreshed: next.access_token !== tokens.access_token,
    active: active.active,
    ended: ended.active,
    own: typeof own === 'string' ? own : 'token',
  }
  response.writeHead(200, { 'content-type': 'text/html' })
  response.end(`<p id="signed-in">${JSON.stringify(seen)}</p>`)
}

createServer(async (request, response) => {
  const url = new URL(request.url, redirect)
  try {
    if (url.pathname === '/callback') await finish(url, response)
    else if (url.pathname === '/sign-in') await begin(response)
    else response.end('ready')
  } catch (error) {
    response.writeHead(500).end(`${error} ${JSON.stringify(error.cause ?? {})}`)
  }
}).listen(Number(port), '127.0.0.1')
