import { Duration } from 'aws-cdk-lib';
import { Match, Rule } from 'aws-cdk-lib/aws-events';
import { SqsQueue } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { EventSourceMapping } from 'aws-cdk-lib/aws-lambda';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import type { BackendConfig } from '../lib/config/fleet-file.ts';
import { FleetFunction, type FleetFunctionProps } from './fleet-function.ts';

export interface EventImporterProps extends Pick<FleetFunctionProps, 'plan' | 'tables' | 'code' | 'network'> {
  /** Backends on AWS that want to be told of new files. */
  readonly listening: readonly BackendConfig[];
  readonly deadLetters: Queue;
}

const timeoutSeconds = 120;
/** As AWS advises for a function behind a queue. Source: Lambda developer guide, "Using Lambda with Amazon SQS". */
const visibilitySeconds = 6 * timeoutSeconds;
/** A backend may be unreachable, or a limit spent, for a few hours. */
const mostDeliveries = 20;

/**
 * New files of buckets on AWS: a rule per backend passes what its bucket tells EventBridge on to a queue, and a function asks
 * for each key and imports it. What fails is delivered again, and in the end kept as a dead letter. The owner of the bucket
 * switches its EventBridge notifications on.
 */
export class EventImporter extends Construct {
  readonly function: FleetFunction;
  readonly queue: Queue;

  constructor(scope: Construct, id: string, props: EventImporterProps) {
    super(scope, id);
    const { plan, tables, code, network, listening, deadLetters } = props;
    this.queue = new Queue(this, 'Events', {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      visibilityTimeout: Duration.seconds(visibilitySeconds),
      retentionPeriod: Duration.days(14),
      deadLetterQueue: { queue: deadLetters, maxReceiveCount: mostDeliveries },
    });
    this.function = new FleetFunction(this, 'Function', {
      actor: 'importer',
      plan,
      tables,
      code,
      network,
      timeoutSeconds,
      memoryMb: 512,
      statements: [
        new PolicyStatement({
          sid: 'Events',
          actions: ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'],
          resources: [this.queue.queueArn],
        }),
      ],
    });
    new EventSourceMapping(this, 'Source', {
      target: this.function.lambda,
      eventSourceArn: this.queue.queueArn,
      batchSize: 100,
      // Files that are put together are recorded together.
      maxBatchingWindow: Duration.seconds(5),
      maxConcurrency: 5,
      reportBatchItemFailures: true,
    });
    for (const backend of listening) this.listenTo(backend);
  }

  private listenTo({ name, bucket, prefix }: BackendConfig): void {
    const object = prefix === '' ? {} : { object: { key: Match.prefix(prefix) } };
    new Rule(this, `Rule-${name}`, {
      description: `New files of backend ${name}`,
      eventPattern: {
        source: ['aws.s3'],
        detailType: ['Object Created'],
        detail: { bucket: { name: [bucket] }, ...object },
      },
      targets: [new SqsQueue(this.queue)],
    });
  }
}
