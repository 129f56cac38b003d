// A client of the TypeScript SDK of MCP calls the paid tools at URL.
//
// Prints one line of JSON: how much it was served and the last receipt.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { tempoModerato } from 'viem/chains'
import { tempo } from 'mppx/client'
import { McpClient } from 'mppx/mcp/client'

const { FLOW, PAYER_KEY, RPC_URL } = process.env
const account = privateKeyToAccount(PAYER_KEY)
const chain = createClient({ account, chain: tempoModerato, transport: http(RPC_URL) })
const getClient = () => chain

const client = new Client({ name: 'interop', version: '1.0.0' })
await client.connect(new StreamableHTTPClientTransport(new URL(process.env.URL)))

async function call(name, words) {
  const result = await client.callTool({ name, arguments: words })
  if (result.isError) throw new Error(`Error: ${JSON.stringify(result.content)}`)
  return result
}

const flows = {
  // It knows nothing of payments: it is told, and stays connected.
  async plain() {
    const error = await client.callTool({ name: 'recite', arguments: {} }).catch((error) => error)
    if (error.code !== -32042) throw new Error(`Error: no -32042 but ${error}`)
    if (!error.data.challenges.length) throw new Error('Error: no challenges')
    const { tools } = await client.listTools()
    return { served: tools.length > 0 ? 1 : 0, receipt: { status: 'success' } }
  },
  async charge() {
    McpClient.wrap(client, { methods: [tempo.charge({ account, getClient })] })
    const { receipt } = await call('recite', {})
    return { served: 1, receipt }
  },
  async session() {
    const session = tempo.session({ account, getClient, maxDeposit: '1' })
    McpClient.wrap(client, { methods: [session] })
    let receipt
    for (let index = 0; index < 3; index += 1) {
      receipt = (await call('explain', { word: 'voucher' })).receipt
    }
    return { served: 3, receipt }
  },
}

console.log(JSON.stringify(await flows[FLOW]()))
process.exit(0)
