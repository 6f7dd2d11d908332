"""Does the walk-through with the client that openapi-python-client generated: `python walk_through.py URL`. The package
`tessera_client` is in the working directory. Prints the e-mail address of the user."""

import sys

sys.path.insert(0, ".")

from tessera_client import AuthenticatedClient, Client
from tessera_client.api.auth import login, logout, refresh, register
from tessera_client.api.me import read_me
from tessera_client.models import Error, LoginRequest, RefreshRequest, RegisterRequest, Tokens, User

url = sys.argv[1]
email, password = "python@user.com", "correct horse battery"
client = Client(base_url=url)

user = register.sync(client=client, body=RegisterRequest(email=email, password=password))
assert isinstance(user, User) and user.email == email, user
again = register.sync(client=client, body=RegisterRequest(email=email, password=password))
assert isinstance(again, Error) and again.detail == "REGISTER_USER_ALREADY_EXISTS", again

tokens = login.sync(client=client, body=LoginRequest(username=email, password=password))
assert isinstance(tokens, Tokens), tokens
me = read_me.sync(client=AuthenticatedClient(base_url=url, token=tokens.access_token))
assert isinstance(me, User) and me.id == user.id, me

tokens = refresh.sync(client=client, body=RefreshRequest(refresh_token=tokens.refresh_token))
assert isinstance(tokens, Tokens), tokens
signed_in = AuthenticatedClient(base_url=url, token=tokens.access_token)
assert logout.sync_detailed(client=signed_in).status_code == 204
refused = read_me.sync(client=signed_in)
assert isinstance(refused, Error) and refused.detail == "Unauthorized", refused
print(me.email)
