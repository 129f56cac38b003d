"""A server of the package pympp sells charges.

Prints its address and sells until it is ended.
"""

import asyncio
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import server as tempo
from mpp.server import Mpp, Request, Response

PATH_USD = "0x20c0000000000000000000000000000000000000"
payee = TempoAccount.from_key(os.environ["PAYEE_KEY"])
sponsor = TempoAccount.from_key(os.environ["SPONSOR_KEY"])
OFFERS = {
    "/charge/pull": {"amount": "0.01"},
    "/charge/proof": {"amount": "0"},
    "/charge/sponsored": {"amount": "0.01", "fee_payer": True},
    "/charge/splits": {
        "amount": "0.01",
        "splits": [{"amount": "4000", "recipient": "0x" + "77" * 20}],
    },
}


async def answer(request: Request, path: str) -> Response:
    # Each request has its own event loop, so it also has its own engine; the
    # secret and the store of what was paid are shared.
    server = Mpp(
        methods=tempo.charge(
            recipient=payee.address,
            chain_id=42431,
            rpc_url=os.environ["RPC_URL"],
            currencies=[PATH_USD],
            fee_payer=sponsor,
        ),
        realm="peer.example",
        secret_key="4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(",
    )
    result = await server.charge(**OFFERS[path])(request)
    if result.status != 200:
        return result.challenge
    return result.with_receipt(Response.json({"sold": path}))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = f"http://{self.headers['host']}{self.path}"
        request = Request("GET", url, self.headers.items())
        try:
            response = asyncio.run(answer(request, self.path))
        except Exception as error:
            response = Response(status=500, body=repr(error.__cause__ or error))
        self.send_response(response.status)
        for name, value in response.headers.multi_items():
            self.send_header(name, value)
        body = response.body or b""
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
