// Serves a page that signs people in with oidc-client-ts: a public client without a server of its own.
//
// usage: node oidc_client_ts.mjs ISSUER CLIENT_ID PORT, in the folder of node_modules
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const [issuer, id, port] = process.argv.slice(2)
const library = readFileSync('node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js')
const page = `<!doctype html><title>app</title><p id="state"></p><script src="/library.js"></script><script>
const manager = new oidc.UserManager({
  authority: ${JSON.stringify(issuer)},
  client_id: ${JSON.stringify(id)},
  redirect_uri: location.origin + '/callback',
  scope: 'openid email offline_access',
  loadUserInfo: true,
})
async function run() {
  if (location.pathname !== '/callback') return manager.signinRedirect()
  const user = await manager.signinRedirectCallback()
  const renewed = await manager.signinSilent()
  const told = document.createElement('p')
  told.id = 'signed-in'
  told.textContent = JSON.stringify({
    email: user.profile.email,
    refreshed: renewed.access_token !== user.access_token,
  })
  document.body.append(told)
}
run().catch((error) => { document.querySelector('#state').textContent = String(error) })
</script>`

createServer((request, response) => {
  const path = request.url.split('?')[0]
  if (path === '/library.js') response.writeHead(200, { 'content-type': 'text/javascript' }).end(library)
  else if (path === '/favicon.ico') response.writeHead(404).end()
  else if (path === '/') response.end('ready')
  else response.writeHead(200, { 'content-type': 'text/html' }).end(page)
}).listen(Number(port), '127.0.0.1')
