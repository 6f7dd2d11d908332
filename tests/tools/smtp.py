"""A mail server that writes each mail to a file in a folder.

usage: smtp.py FOLDER PORT [--delay SECONDS] [--hold] [--refuse COUNT [--code CODE]] [--ascii] [--certificate FILE --key FILE [--encrypted]]

It prints its port once it listens. With a certificate it uses STARTTLS, or TLS from the beginning (--encrypted), and
then requires a user name and a password. It writes each sign-in to FOLDER/signed-in, and the name with which a client
introduced itself to FOLDER/hello. With --ascii, it does not accept 8BITMIME. With --hold, it answers to no mail until
there is a file FOLDER/go.
"""

import argparse
import asyncio
import pathlib
import ssl

from aiosmtpd.smtp import SMTP, AuthResult

arguments = argparse.ArgumentParser()
arguments.add_argument("folder", type=pathlib.Path)
arguments.add_argument("port", type=int)
arguments.add_argument("--delay", type=float, default=0)
arguments.add_argument("--hold", action="store_true")
arguments.add_argument("--refuse", type=int, default=0)
arguments.add_argument("--code", type=int, default=451)
arguments.add_argument("--ascii", action="store_true")
arguments.add_argument("--certificate")
arguments.add_argument("--key")
arguments.add_argument("--encrypted", action="store_true")
arguments = arguments.parse_args()


class Handler:
    refuse = arguments.refuse
    count = 0

    async def handle_DATA(self, server, session, envelope):
        (arguments.folder / "hello").write_text(session.host_name)
        await asyncio.sleep(arguments.delay)
        while arguments.hold and not (arguments.folder / "go").exists():
            await asyncio.sleep(0.01)
        if self.refuse > 0:
            self.refuse -= 1
            return f"{arguments.code} not now, {envelope.rcpt_tos[0]}"
        self.count += 1
        draft = arguments.folder / f".{self.count}"
        content = envelope.content
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.rename(arguments.folder / f"{self.count}.eml")
        return "250 kept"


def authenticator(server, session, envelope, mechanism, data):
    with (arguments.folder / "signed-in").open("a") as file:
        print(data.login.decode(), data.password.decode(), "encrypted" if session.ssl else "plain", file=file)
    return AuthResult(success=True)


async def main():
    handler = Handler()
    options = {"authenticator": authenticator, "auth_require_tls": False, "decode_data": arguments.ascii}
    if arguments.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.certificate, arguments.key)
        options |= {"auth_required": True}
        if not arguments.encrypted:
            options |= {"tls_context": context, "require_starttls": True}
    loop = asyncio.get_running_loop()
    encrypted = context if arguments.encrypted else None
    server = await loop.create_server(
        lambda: SMTP(handler, **options), "127.0.0.1", arguments.port, reuse_address=True, ssl=encrypted
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
