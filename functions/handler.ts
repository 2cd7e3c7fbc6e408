import { systemClock } from '../lib/base/clock.ts';
import { defined } from '../lib/base/defined.ts';
import { printable } from '../lib/base/printable.ts';
import type { Parameters } from '../lib/config/parameters.ts';
import { createProcess } from '../lib/process/process.ts';
import type { FleetView } from '../lib/store/fleet-view.ts';
import { type Gauges, gaugesOf } from '../lib/tick/metrics.ts';
import { runTick } from '../lib/tick/run-tick.ts';
import type { TickReport, Worker } from '../lib/tick/tick.ts';
import { lambdaLog } from './log.ts';
import { metricLines } from './publish.ts';

/** The fleet's name among the metrics of an account: that of its stack. */
const fleetName = process.env.HOLDFAST_STACK || 'holdfast';

/** What EventBridge Scheduler sends. */
export interface ScheduledEvent {
  readonly part?: number;
  readonly of?: number;
  /** ISO 8601. An event older than the worker's period is dropped. */
  readonly scheduledTime?: string;
}

/** What is used of Lambda's context. */
export interface LambdaContext {
  getRemainingTimeInMillis(): number;
}

/** An invocation that failed, after everything about it was reported: what Lambda's Errors metric counts. */
export class TickFailed extends Error {
  override readonly name = 'TickFailed';
}

export type Handler = (event: ScheduledEvent, context: LambdaContext) => Promise<TickReport>;

/**
 * The Lambda handler of a worker. One process serves many invocations, one at a time: connections, credentials and the
 * cost of idle ticks are carried from one to the next.
 */
export function createHandler(worker: Worker): Handler {
  const holdfastProcess = createProcess({ env: process.env, log: lambdaLog() });
  return async ({ part, of, scheduledTime }, context) => {
    let gauges: ((report: TickReport) => Gauges) | undefined;
    const deps = {
      ...holdfastProcess,
      sawFleet: (view: FleetView, params: Parameters) => {
        const { config } = view;
        if (config === null) return;
        gauges = ({ figures }) => gaugesOf({ ...view, config }, params, figures, systemClock.now());
      },
    };
    const report = await runTick(deps, worker, {
      deadline: systemClock.now() + context.getRemainingTimeInMillis(),
      ...defined({ part, of, scheduledTime }),
    });
    if (gauges)
      for (const line of metricLines(gauges(report), fleetName, systemClock.now())) process.stdout.write(line);
    if (report.outcome !== 'failed' && report.outcome !== 'error') return report;
    const why = report.message ?? 'every attempted item failed';
    throw new TickFailed(
      printable(`The tick of ${worker.name} ${report.outcome === 'failed' ? 'failed' : 'ended in an error'}: ${why}`),
    );
  };
}
