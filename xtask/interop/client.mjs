// A client of the package mppx buys from the server at URL.
//
// Prints one line of JSON: how much it was served and the last receipt.
import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { tempoModerato } from 'viem/chains'
import { Mppx, sessionLegacyManager, tempo } from 'mppx/client'
import WebSocket from 'ws'

const { FLOW, PAYER_KEY, RPC_URL, URL } = process.env
const account = privateKeyToAccount(PAYER_KEY)
const client = createClient({ account, chain: tempoModerato, transport: http(RPC_URL) })
const getClient = () => client

const [version, kind] = FLOW.split(' ')
const manager = version === 'v1' ? sessionLegacyManager : tempo.session.manager
const session = (more) => manager({ account, client, getClient, maxDeposit: '1', ...more })

async function buy(payer, count) {
  for (let index = 0; index < count; index += 1) {
    const response = await payer.fetch(URL)
    const body = await response.text()
    if (!response.ok) throw new Error(`${response.status} ${body}`)
    if (!response.receipt) throw new Error('no receipt')
  }
  return count
}

const flows = {
  async requests() {
    const payer = session()
    return { served: await buy(payer, 5), receipt: await payer.close() }
  },
  async stream() {
    const payer = session()
    let served = 0
    for await (const _ of await payer.sse(URL)) served += 1
    return { served, receipt: await payer.close() }
  },
  async socket() {
    const payer = session({ webSocket: WebSocket })
    const socket = await payer.ws(URL.replace('http', 'ws'))
    let served = 0
    socket.addEventListener('message', () => (served += 1))
    await new Promise((done, failed) => {
      socket.addEventListener('close', done)
      socket.addEventListener('error', failed)
    })
    return { served, receipt: await payer.close() }
  },
  // The second manager has no memory: the server tells it of the channel.
  async resume() {
    await buy(session(), 2)
    const payer = session({ bootstrap: true })
    return { served: 2 + (await buy(payer, 3)), receipt: await payer.close() }
  },
  async charge() {
    const mode = version
    const payer = Mppx.create({
      methods: [tempo.charge({ account, getClient, ...(mode === 'push' ? { mode } : {}) })],
      polyfill: false,
    })
    const response = await payer.fetch(URL)
    const body = await response.text()
    if (!response.ok) throw new Error(`${response.status} ${body}`)
    const header = response.headers.get('payment-receipt')
    return { served: 1, receipt: JSON.parse(Buffer.from(header, 'base64url')) }
  },
}

console.log(JSON.stringify(await flows[kind]()))
process.exit(0)
