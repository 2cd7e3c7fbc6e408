// From docs/workers.md, by `npm run docs`: do not edit.
import { createWorkers } from '../../../lib/workers.ts';

const workers = createWorkers(); // finds its tables through the environment, like the library and the CLI
const report = await workers.run('replicator', { timeMs: 30_000 });
console.log(report.outcome, report.succeeded, report.reasons);
if ((await workers.unhealthyBackends()).length === 0) await workers.scrub();
console.log(await workers.status());
await workers.close();
export {};
