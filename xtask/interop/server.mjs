// A server of the package mppx, or of its last version that sells over v1.
//
// Prints its address and sells until it is ended.
import { createServer } from 'node:http'
import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { waitForTransactionReceipt } from 'viem/actions'
import { tempoModerato } from 'viem/chains'

const { RPC_URL, PAYEE_KEY, SPONSOR_KEY, PROTOCOL } = process.env
const { Mppx, Request: Bridge, Store, tempo } = await import(PROTOCOL === 'v1' ? 'mppx-v1/server' : 'mppx/server')
const account = privateKeyToAccount(PAYEE_KEY)
// What the node refused last; the package tells its clients nothing of that.
let refusal = 'an internal error'
function transport(options) {
  const node = http(RPC_URL)(options)
  const request = (call) =>
    node.request(call).catch((error) => {
      refusal = `${call.method}: ${error.details ?? error.message}`
      throw error
    })
  return { ...node, request }
}
const client = createClient({ account, chain: tempoModerato, transport })
const store = Store.memory()
const common = {
  account,
  chainId: 42431,
  currency: '0x20c0000000000000000000000000000000000000',
  getClient: () => client,
  recipient: account.address,
  store,
}
const session = PROTOCOL === 'v1' ? (tempo.sessionLegacy ?? tempo.session) : tempo.session
const mppx = Mppx.create({
  methods: [session({ ...common, sse: true }), tempo.charge(common)],
  realm: 'peer.example',
  secretKey: '4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(',
})
const words = Array.from({ length: 20 }, (_, index) => `word${index}`)
const cent = { amount: '0.01', suggestedDeposit: '0.05', unitType: 'request' }
const sponsor = privateKeyToAccount(SPONSOR_KEY)
const other = `0x${'77'.repeat(20)}`
const charges = {
  '/charge/pull': { amount: '0.01', supportedModes: ['pull'] },
  '/charge/push': { amount: '0.01', supportedModes: ['push'] },
  '/charge/proof': { amount: '0' },
  '/charge/sponsored': { amount: '0.01', feePayer: sponsor },
  '/charge/splits': { amount: '0.01', splits: [{ amount: '0.004', recipient: other }] },
}
// The package settles v1 from a store of channels, and does not say how to make one.
const channels = {
  getChannel: (id) => store.get(id),
  updateChannel: async (id, change) => store.put(id, change(await store.get(id))),
}
// What the owner of the server runs to collect from a channel.
async function settle(channelId) {
  const hash =
    PROTOCOL === 'v1'
      ? await tempo.sessionLegacy.settle(channels, client, channelId)
      : await tempo.settle(store, client, channelId)
  const { status } = await waitForTransactionReceipt(client, { hash })
  if (status !== 'success') throw new Error('the settlement was reverted')
  return hash
}
const routes = {
  '/settle': async (request) => new Response(await settle(await request.text())),
  '/requests': async (request) => {
    const result = await mppx.session(cent)(request)
    if (result.status === 402) return result.challenge
    return result.withReceipt(Response.json({ sold: 'a photo' }))
  },
  '/stream': async (request) => {
    const result = await mppx.session({ ...cent, unitType: 'word', suggestedDeposit: PROTOCOL === 'v1' ? '0.50' : '0.05' })(request)
    if (result.status === 402) return result.challenge
    return result.withReceipt(async function* (stream) {
      for (const word of words) {
        await stream.charge()
        yield word
      }
    })
  },
}
for (const [path, offer] of Object.entries(charges)) {
  routes[path] = async (request) => {
    const result = await mppx.charge(offer)(request)
    if (result.status === 402) return result.challenge
    return result.withReceipt(Response.json({ sold: path }))
  }
}
const listener = Bridge.toNodeListener(async (request) => {
  const route = routes[new URL(request.url).pathname]
  const response = route ? await route(request) : new Response('not found', { status: 404 })
  return response.status < 500 ? response : new Response(refusal, { status: response.status })
})
const server = createServer(listener)
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
