// A client of the package mppx buys from the server at URL.
//
// Prints one line of JSON: how much it was served and the last receipt, or its open channel.
import { createClient, http, parseAbi } from 'viem'
import { waitForTransactionReceipt, writeContract } from 'viem/actions'
import { privateKeyToAccount } from 'viem/accounts'
import { tempoModerato } from 'viem/chains'
import { Mppx, sessionLegacyManager, tempo } from 'mppx/client'
import { Session } from 'mppx/tempo'
import WebSocket from 'ws'

const { FLOW, PAYER_KEY, RPC_URL, URL } = process.env
const account = privateKeyToAccount(PAYER_KEY)
const chain = { ...tempoModerato, prepareTransactionRequest: [prepare, { runAt: tempoModerato.prepareTransactionRequest[1].runAt }] }
const client = createClient({ account, chain, transport: http(RPC_URL) })
const getClient = () => client

// Where time has passed on the chain, it has passed here, too.
const ahead = Number(process.env.AHEAD ?? 0) * 1000
const present = Date.now
Date.now = () => present() + ahead

// A node that estimates too little for several calls may be overruled.
async function prepare(request, context) {
  const prepared = await tempoModerato.prepareTransactionRequest[0](request, context)
  const isLast = context.phase === 'afterFillParameters'
  if (process.env.BATCH_GAS && isLast && prepared.calls?.length > 1) prepared.gas = BigInt(process.env.BATCH_GAS)
  return prepared
}

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

// What the package offers for a payer without its server; it has nothing of that kind for v1.
const reserve = Session.Precompile.Chain
const v1 = {
  address: '0xe1c4d3dce17bc111181ddf716f75bae49e61a336',
  abi: parseAbi(['function requestClose(bytes32)', 'function withdraw(bytes32)']),
  feeToken: '0x20c0000000000000000000000000000000000000',
  nonceKey: 'expiring',
}

async function send(viaReserve, functionName) {
  const { channelId, descriptor } = JSON.parse(process.env.CHANNEL)
  const hash =
    version === 'v1'
      ? await writeContract(client, { ...v1, functionName, args: [channelId] })
      : await viaReserve(client, descriptor)
  const { status } = await waitForTransactionReceipt(client, { hash })
  if (status !== 'success') throw new Error(`${functionName} was reverted`)
  return { hash }
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
  // The channel stays open.
  async channel() {
    const payer = session()
    await buy(payer, 3)
    return { channelId: payer.channelId, descriptor: payer.state?.descriptor }
  },
  request: () => send(reserve.requestCloseOnChain, 'requestClose'),
  withdraw: () => send(reserve.withdrawOnChain, 'withdraw'),
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
