// A provider with oidc-provider: its people sign in with any name, and a name that begins with `anonymous` has no address.
//
// usage: node oidc_provider.mjs PORT CLIENT_ID CLIENT_SECRET URL_OF_THE_CLIENT NAME_OF_THE_PROVIDER_THERE
import { Provider } from 'oidc-provider'

const [port, id, secret, url, name] = process.argv.slice(2)

function account(_, login) {
  const address = login.startsWith('anonymous') ? {} : { email: `${login}@corp.example`, email_verified: true }
  const claims = { sub: login, given_name: 'Ada', family_name: 'Lovelace', ...address }
  return { accountId: login, claims: () => claims }
}

const provider = new Provider(`http://localhost:${port}`, {
  clients: [
    {
      client_id: id,
      client_secret: secret,
      redirect_uris: [`${url}/login/with/${name}/callback`],
      post_logout_redirect_uris: [`${url}/login`],
      backchannel_logout_uri: `${url}/auth/${name}/backchannel-logout`,
      backchannel_logout_session_required: true,
    },
  ],
  claims: { openid: ['sub', 'sid'], email: ['email', 'email_verified'], profile: ['given_name', 'family_name'] },
  cookies: { keys: ['a-key-that-only-tests-use'] },
  features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
  findAccount: account,
  pkce: { required: () => true },
})
provider.on('server_error', (_, error) => console.error(error))
provider.on('grant.error', (_, error) => console.error(error))
provider.on('backchannel.error', (_, error) => console.error(error))
provider.listen(Number(port), '127.0.0.1')
