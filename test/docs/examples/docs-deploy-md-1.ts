// From docs/deploy.md, by `npm run docs`: do not edit.
import { App } from 'aws-cdk-lib';
import { HoldfastDataStack, HoldfastWorkersStack } from '../../../infra/index.ts';

const app = new App();
const data = new HoldfastDataStack(app, 'holdfast-data');
const workers = new HoldfastWorkersStack(app, 'holdfast', {
  fleet: 'fleet.json',                       // or the object itself, in which ARNs may be tokens
  alarms: { email: 'ops@example.com' },
  tuning: { SCRUBBER_CYCLE_DAYS: 60 },
  sizes: { replicator: { memoryMb: 2048 } },
});
workers.addStackDependency(data);
export {};
