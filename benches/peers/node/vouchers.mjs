// Times mppx on Node: node vouchers.mjs <node_modules> <vouchers.json> <run.json>
//
// The package does not export its verifiers, so their files are imported by path. Rounds are
// interleaved and the median counts, as in the other processes.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, input, output] = process.argv.slice(2).map((path) => resolve(path));
const ROUNDS = 7;
const WARM_UP = 3;

const load = (path) => import(pathToFileURL(join(modules, 'mppx/dist/tempo', path)).href);
const v1 = await load('legacy/session/Voucher.js');
const v2 = await load('session/precompile/Voucher.js');

const cases = JSON.parse(readFileSync(input, 'utf8')).map((item) => ({
  ...item,
  voucher: { ...item.voucher, cumulativeAmount: BigInt(item.voucher.cumulativeAmount) },
}));

const candidate = (id, label, protocol, { verifyVoucher }) => {
  const own = cases.filter((item) => item.protocol === protocol);
  const run = async () => {
    for (const { escrow, chainId, voucher, signer } of own) {
      if (!(await verifyVoucher(escrow, chainId, voucher, signer))) throw new Error(`${id} refuses`);
    }
  };
  return { id, label, run, count: own.length, times: [] };
};
const candidates = [
  candidate('mppx/v1', 'mppx verifyVoucher (v1)', 'v1', v1),
  candidate('mppx/v2', 'mppx verifyVoucher (v2)', 'v2', v2),
];

// A forged voucher must fail, or the loop above would measure nothing.
for (const [protocol, { verifyVoucher }] of [['v1', v1], ['v2', v2]]) {
  const { escrow, chainId, voucher, signer } = cases.find((item) => item.protocol === protocol);
  const forged = { ...voucher, cumulativeAmount: voucher.cumulativeAmount + 1n };
  if (await verifyVoucher(escrow, chainId, forged, signer)) throw new Error('a forgery passes');
}

for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
  for (const { run, count, times } of candidates) {
    const start = process.hrtime.bigint();
    const used = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(used);
    const elapsed = Number(process.hrtime.bigint() - start) / 1000;
    // Busy neighbors lengthen the one, the collector's threads the other: the kinder one counts.
    const microseconds = Math.min(elapsed, user + system);
    if (round >= WARM_UP) times.push(Math.round((microseconds * 1e6) / count));
  }
}

const rows = candidates.map(({ id, label, times }) => {
  times.sort((a, b) => a - b);
  return {
    id,
    label,
    work: 'signature',
    median_ps: times[(times.length - 1) / 2],
    fastest_ps: times[0],
    slowest_ps: times[times.length - 1],
  };
});
writeFileSync(output, `${JSON.stringify({ kind: 'node', rows }, null, 2)}\n`);
