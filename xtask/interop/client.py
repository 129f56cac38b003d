"""A client of the package pympp pays one charge of the server at URL.

Prints one line of JSON: how much it was served and the receipt.
"""

import asyncio
import base64
import json
import os

from mpp.client import Mpp
from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import client as tempo


# Our servers are not called by their host names here.
REALMS = {os.environ["URL"].rsplit("/charge", 1)[0]: "shop.example"}


async def main() -> None:
    account = TempoAccount.from_key(os.environ["PAYER_KEY"])
    charge = tempo.charge(account=account, chain_id=42431, rpc_url=os.environ["RPC_URL"])
    async with Mpp(methods=[charge], trusted_tempo_realms=REALMS) as client:
        response = await client.fetch(os.environ["URL"])
    if response.status_code != 200:
        raise SystemExit(f"Error: {response.status_code} {response.text}")
    receipt = response.headers["payment-receipt"]
    receipt = json.loads(base64.urlsafe_b64decode(receipt + "=="))
    print(json.dumps({"served": 1, "receipt": receipt}))


asyncio.run(main())
