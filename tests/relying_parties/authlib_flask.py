"""An application with Flask and Authlib: it signs people in, and reads their claims.

usage: authlib_flask.py ISSUER CLIENT_ID CLIENT_SECRET PORT
"""

import json
import logging
import sys

from authlib.integrations.flask_client import OAuth
from flask import Flask

issuer, client_id, client_secret, port = sys.argv[1:5]
logging.getLogger("werkzeug").disabled = True
app = Flask(__name__)
app.secret_key = "the secret of the session cookie of a test"
oauth = OAuth(app)
tessera = oauth.register(
    "tessera",
    client_id=client_id,
    client_secret=client_secret,
    server_metadata_url=f"{issuer}/.well-known/openid-configuration",
    client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
)


@app.get("/")
def ready():
    return "ready"


@app.get("/sign-in")
def begin():
    return tessera.authorize_redirect(f"http://localhost:{port}/callback")


@app.get("/callback")
def finish():
    token = tessera.authorize_access_token()
    user = tessera.userinfo(token=token)
    seen = {"email": user["email"], "sub": token["userinfo"]["sub"] == user["sub"]}
    return f'<p id="signed-in">{json.dumps(seen)}</p>'


app.run("127.0.0.1", int(port))
