import { readFileSync } from 'node:fs';
import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AwsSolutionsChecks } from 'cdk-nag';
import { expect, test } from 'vitest';
import { alarmNames } from '../../infra/alarm-names.ts';
import { backendMetrics, fleetMetrics } from '../../lib/base/metric-names.ts';
import { unpackFleet } from '../../lib/config/packed-fleet.ts';
import { parameterPrefix, parseParameters, workerNames } from '../../lib/config/parameters.ts';
import { writeCheckKey } from '../../lib/steps/check-writes.ts';
import { type Statement, statementsGranted, statementsOf } from './support/iam.ts';
import { type Resource, type Synthesised, synthesise, testFleet } from './support/template.ts';

const plain = synthesise();
const kmsKeyArn = 'arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555';
const encryptedFleet = { ...testFleet, encryption: { kmsKeyArn } };
const actors = [...workerNames, 'apply', 'importer'] as const;
const properties = (type: string) => plain.ofType(type).map(([, { Properties }]) => Properties);
const named = (actor: string) => statementsOf(plain, `holdfast-${actor}`);
const alarmsOf = (synthesised = plain): string[] =>
  synthesised.ofType('AWS::CloudWatch::Alarm').map(([, { Properties }]) => Properties.AlarmName);

test('every worker has a schedule for each part, with a dead-letter queue, an age limit and no retries', () => {
  const parts = { SCRUBBER_PARTS: '16', RECONCILER_PARTS: '2' };
  const synthesised = synthesise(testFleet, parts);
  const parameters = parseParameters(parts);
  const schedules = synthesised.ofType('AWS::Scheduler::Schedule').map(([, { Properties }]) => Properties);
  for (const worker of workerNames) {
    const tuning = parameters.workers[worker];
    const own = schedules.filter(({ Target }) =>
      String(synthesised.resolve(Target.Arn)).endsWith(`:holdfast-${worker}`),
    );
    expect(own.map(({ Target }) => JSON.parse(Target.Input))).toEqual(
      Array.from({ length: tuning.parts }, (_, part) => ({
        scheduledTime: '<aws.scheduler.scheduled-time>',
        part,
        of: tuning.parts,
      })),
    );
    for (const { Target, ScheduleExpression, State } of own) {
      expect(ScheduleExpression).toBe(tuning.schedule);
      expect(State).toBe(tuning.enabled ? 'ENABLED' : 'DISABLED');
      expect(Target.RetryPolicy.MaximumRetryAttempts).toBe(0);
      expect(Target.RetryPolicy.MaximumEventAgeInSeconds).toBeGreaterThanOrEqual(60);
      expect(Target.DeadLetterConfig.Arn).toBeDefined();
    }
  }
});

test('every function runs Node 24 on arm64, is never retried, and has a log group with retention', () => {
  expect(properties('AWS::Lambda::Function')).toHaveLength(actors.length);
  for (const { Runtime, Architectures, Handler } of properties('AWS::Lambda::Function'))
    expect({ Runtime, Architectures, Handler }).toEqual({
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      Handler: 'index.handler',
    });
  expect(properties('AWS::Lambda::EventInvokeConfig').map((p) => p.MaximumRetryAttempts)).toEqual(actors.map(() => 0));
  expect(properties('AWS::Logs::LogGroup').map((p) => p.RetentionInDays)).toEqual(actors.map(() => 30));
});

test('a role serves one function [least-rights]', () => {
  const roles = properties('AWS::Lambda::Function').map(({ Role }) => Role['Fn::GetAtt'][0]);
  expect(new Set(roles).size).toBe(actors.length);
});

test('only the cleanup queue may delete bytes, and apply below .holdfast/ [least-rights]', () => {
  for (const actor of actors) {
    const deletes = named(actor).filter(({ actions }) =>
      actions.some((action) => action.startsWith('s3:DeleteObject')),
    );
    const keys = deletes.flatMap(({ resources }) => resources);
    const all = ['arn:aws:s3:::bucket-a/fleet/*', 'arn:aws:s3:::bucket-b/*'];
    const own = ['arn:aws:s3:::bucket-a/fleet/.holdfast/*', 'arn:aws:s3:::bucket-b/.holdfast/*'];
    expect(keys).toEqual(actor === 'cleanup-queue' ? all : actor === 'apply' ? own : []);
  }
});

test('of the workers only the cleanup queue reads delete credentials; apply does to find capabilities', () => {
  const readers = actors.filter((actor) =>
    named(actor).some(({ resources }) => resources.some((r) => r.includes('ext-delete'))),
  );
  expect(readers).toEqual(['cleanup-queue', 'apply']);
});

test('bytes are written by the replicator, the rebalancer and apply alone', () => {
  const writers = actors.filter((actor) => named(actor).some(({ actions }) => actions.includes('s3:PutObject')));
  expect(writers).toEqual(['replicator', 'rebalancer', 'apply']);
});

test('who writes objects may only create their keys; the one key that is written over is that of the write check [least-rights]', () => {
  const conditional = { Null: { 's3:if-none-match': 'false' } };
  // Requests that send parts make no object: AWS has them exempted so.
  const parts = { Bool: { 's3:ObjectCreationOperation': 'false' } };
  const own = ['bucket-a/fleet/', 'bucket-b/'].map((place) => `arn:aws:s3:::${place}`);
  const anywhere = own.map((place) => `${place}*`);
  const writesOf = (statements: readonly Statement[]) =>
    statements
      .filter(({ actions }) => actions.includes('s3:PutObject'))
      .map(({ resources, conditions }) => ({ resources, conditions }));
  const objects = [conditional, parts].map((conditions) => ({ resources: anywhere, conditions }));
  const check = { resources: own.map((place) => `${place}${writeCheckKey}`), conditions: {} };
  for (const worker of ['replicator', 'rebalancer']) expect(writesOf(named(worker))).toEqual([...objects, check]);
  const granted = synthesise(testFleet, {}, {}, 'Application');
  expect(writesOf(statementsGranted(granted, 'Application'))).toEqual(objects);
  expect(writesOf(named('apply'))).toEqual([{ resources: own.map((place) => `${place}.holdfast/*`), conditions: {} }]);
});

test('no statement scans a table, names a wildcard resource or a wildcard action [least-rights]', () => {
  for (const actor of actors) {
    for (const { actions, resources } of named(actor)) {
      expect(actions.filter((action) => /\*|:Scan$/.test(action))).toEqual([]);
      expect(resources.filter((arn) => arn === '*' || /^arn:[^:]*:[^:]*:[^:]*:[^:]*:\*$/.test(arn))).toEqual([]);
      // Keys of a bucket below a prefix, and the streams of a function's own log group: nothing else ends in a wildcard.
      expect(resources.filter((arn) => arn.includes('*') && !/^arn:aws:(s3:::bucket-|logs:.*:\*$)/.test(arn))).toEqual(
        [],
      );
    }
  }
});

test('nothing is public: no policy allows everyone, topic and queues refuse plain HTTP [nothing-public]', () => {
  const policies = [...properties('AWS::SQS::QueuePolicy'), ...properties('AWS::SNS::TopicPolicy')];
  expect(policies).toHaveLength(3);
  for (const { PolicyDocument } of policies) {
    for (const { Effect, Principal, Condition } of PolicyDocument.Statement) {
      if (Effect === 'Allow') expect(JSON.stringify(Principal)).not.toContain('*');
      else expect(Condition).toEqual({ Bool: { 'aws:SecureTransport': 'false' } });
    }
  }
  const types = Object.values(plain.resources).map(({ Type }) => Type);
  expect(types.filter((type) => /Permission|Url|ApiGateway|Bucket/.test(type))).toEqual([]);
});

test('what a bucket tells of new files below its prefix goes to a queue with dead letters, from this rule alone, and on to the importer', () => {
  const rules = plain.ofType('AWS::Events::Rule');
  expect(rules.map(([, { Properties }]) => Properties.EventPattern)).toEqual([
    {
      source: ['aws.s3'],
      'detail-type': ['Object Created'],
      detail: { bucket: { name: ['bucket-a'] }, object: { key: [{ prefix: 'fleet/' }] } },
    },
  ]);
  const [[ruleId, rule]] = rules as [[string, Resource]];
  const [queueId, queue] = plain.ofType('AWS::SQS::Queue').find(([, { Properties }]) => Properties.RedrivePolicy)!;
  expect(queue.Properties).toMatchObject({ VisibilityTimeout: 720, RedrivePolicy: { maxReceiveCount: 20 } });
  expect(rule.Properties.Targets).toMatchObject([{ Arn: { 'Fn::GetAtt': [queueId, 'Arn'] } }]);
  const policy = properties('AWS::SQS::QueuePolicy').find(({ Queues }) => Queues[0].Ref === queueId)!;
  const allowing = policy.PolicyDocument.Statement.filter(({ Effect }: { Effect: string }) => Effect === 'Allow');
  expect(allowing).toHaveLength(1);
  expect(allowing[0]).toMatchObject({
    Principal: { Service: 'events.amazonaws.com' },
    Condition: { ArnEquals: { 'aws:SourceArn': { 'Fn::GetAtt': [ruleId, 'Arn'] } } },
  });
  expect(properties('AWS::Lambda::EventSourceMapping')).toMatchObject([
    {
      EventSourceArn: { 'Fn::GetAtt': [queueId, 'Arn'] },
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      BatchSize: 100,
    },
  ]);
  // It asks, reads and records: it lists nothing below other prefixes, writes and deletes no bytes.
  const actions = named('importer').flatMap((statement) => statement.actions);
  expect(actions.filter((action) => /s3:(Put|Delete)|sqs:(Send|Change)/.test(action))).toEqual([]);
});

test('a fleet in which nothing listens has neither queue nor function for events', () => {
  const backends = testFleet.backends.map((backend) => ({ ...backend, events: false }));
  const synthesised = synthesise({ ...testFleet, backends });
  for (const type of ['AWS::Events::Rule', 'AWS::Lambda::EventSourceMapping'])
    expect(synthesised.ofType(type)).toEqual([]);
  expect(synthesised.ofType('AWS::Lambda::Function')).toHaveLength(actors.length - 1);
});

test('tables outlive the stack, refuse deletion, can be restored, and are paid on demand [tables-outlive-stacks]', () => {
  const tables = plain.ofType('AWS::DynamoDB::Table').map(([, table]) => table);
  expect(tables).toHaveLength(3);
  for (const { Properties, DeletionPolicy } of tables) {
    expect(DeletionPolicy).toBe('Retain');
    expect(Properties).toMatchObject({
      DeletionProtectionEnabled: true,
      BillingMode: 'PAY_PER_REQUEST',
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
    });
  }
  const withTtl = tables.filter(({ Properties }) => Properties.TimeToLiveSpecification?.Enabled === true);
  expect(withTtl.map(({ Properties }) => Properties.TableName)).toEqual(['holdfast-objects', 'holdfast-control']);
});

test('provisioned tables and indexes take exactly the 25 + 25 units that are always free', () => {
  const tables = synthesise(testFleet, {}, { HOLDFAST_TABLE_CAPACITY: 'provisioned' }).ofType('AWS::DynamoDB::Table');
  const units = tables.flatMap(([, { Properties }]) => [
    Properties.ProvisionedThroughput,
    ...(Properties.GlobalSecondaryIndexes ?? []).map(
      (index: { ProvisionedThroughput: unknown }) => index.ProvisionedThroughput,
    ),
  ]);
  const sum = (name: string) => units.reduce((total, unit) => total + unit[name], 0);
  expect([sum('ReadCapacityUnits'), sum('WriteCapacityUnits')]).toEqual([25, 25]);
});

test('every deployment applies the fleet file, before any worker runs [deployments-apply-first]', () => {
  const [[id, { Properties }]] = plain.ofType('Custom::HoldfastFleet') as [[string, Resource]];
  expect(JSON.parse(unpackFleet(Properties))).toEqual(testFleet);
  expect(Properties.deployedAt).toBe('2026-01-01T00:00:00Z');
  for (const [, schedule] of plain.ofType('AWS::Scheduler::Schedule')) expect(schedule.DependsOn).toContain(id);
});

test('concurrency is reserved only where asked for, by parts', () => {
  expect(properties('AWS::Lambda::Function').filter((p) => p.ReservedConcurrentExecutions !== undefined)).toEqual([]);
  const reserving = synthesise(testFleet, { SCRUBBER_PARTS: '4' }, { HOLDFAST_RESERVED_CONCURRENCY: 'true' });
  const scrubber = reserving
    .ofType('AWS::Lambda::Function')
    .find(([, { Properties }]) => Properties.FunctionName === 'holdfast-scrubber')!;
  expect(scrubber[1].Properties.ReservedConcurrentExecutions).toBe(4);
});

test('every enabled worker has an alarm for failing and one for silence; a disabled one only the first', () => {
  const enabled = workerNames.filter((worker) => parseParameters({}).workers[worker].enabled);
  const of = (prefix: string) =>
    alarmsOf()
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length));
  expect(of('holdfast-worker-failing-')).toEqual([...workerNames]);
  expect(of('holdfast-worker-not-running-')).toEqual(enabled);
});

test('every alarm goes to the topic and names a section that the runbook has [alarms-name-the-runbook]', () => {
  const runbook = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8');
  const sections = [...runbook.matchAll(/^## (.+)$/gm)].map(([, title]) => title);
  for (const name of alarmNames) expect(sections).toContain(name);
  for (const { AlarmName, AlarmDescription, AlarmActions, OKActions } of properties('AWS::CloudWatch::Alarm')) {
    const section = /docs\/runbook\.md#([a-z-]+)$/.exec(AlarmDescription)?.[1];
    expect(alarmNames, AlarmName).toContain(section);
    expect(AlarmActions).toHaveLength(1);
    expect(OKActions, AlarmName).toEqual(AlarmActions);
  }
});

test('kinds of alarms can be left out, and all of them', () => {
  const off = alarmNames.filter((_, i) => i % 2 === 0);
  // Some are there only where the fleet has a key.
  const kept = alarmsOf(synthesise(encryptedFleet, {}, { HOLDFAST_ALARMS_OFF: off.join(', ') }));
  for (const name of alarmNames)
    expect(
      kept.some((alarm) => alarm.startsWith(`holdfast-${name}`)),
      name,
    ).toBe(!off.includes(name));
  expect(alarmsOf(synthesise(testFleet, {}, { HOLDFAST_ALARMS_OFF: 'all' }))).toEqual([]);
});

test('the plaintext check has an alarm where the fleet has a key', () => {
  expect(alarmsOf()).not.toContain('holdfast-plaintext-check-overdue');
  expect(alarmsOf(synthesise(encryptedFleet))).toContain('holdfast-plaintext-check-overdue');
});

test('an alarm watches only metrics that ticks publish, in windows that CloudWatch takes [alarms-name-the-runbook]', () => {
  const known = new Set<string>([...fleetMetrics, ...backendMetrics]);
  const all = synthesise(encryptedFleet)
    .ofType('AWS::CloudWatch::Alarm')
    .map(([, { Properties }]) => Properties);
  for (const { AlarmName, Namespace, MetricName, Metrics = [], Period, EvaluationPeriods } of all) {
    const stats = Metrics.flatMap((m: { MetricStat?: { Metric: object; Period: number } }) => m.MetricStat ?? []);
    const ours = [{ Namespace, MetricName }, ...stats.map((s: { Metric: object }) => s.Metric)].filter(
      (m) => m.Namespace === 'Holdfast',
    );
    for (const metric of ours) expect(known, AlarmName).toContain(metric.MetricName);
    const period = Period ?? stats[0].Period;
    expect(period * EvaluationPeriods, AlarmName).toBeLessThanOrEqual(period < 3600 ? 86_400 : 604_800);
  }
});

test('five backends make at most 27 pairs of metric and dimension [metrics-stay-few]', () => {
  expect(fleetMetrics.length + 5 * backendMetrics.length).toBeLessThanOrEqual(27);
});

test('more buckets than fit into the policy of a role are an error of the synthesis', () => {
  const buckets = (count: number) => ({
    backends: Array.from({ length: count }, (_, i) => ({
      name: `b-${i}`,
      bucket: `bucket-${i}`,
      prefix: `fleet-${i}/`,
      credentials: 'role',
    })),
  });
  const errors = ({ stack }: Synthesised) =>
    Annotations.fromStack(stack).findError('*', Match.stringLikeRegexp('IAM takes'));
  expect(errors(synthesise(buckets(5)))).toEqual([]);
  expect(errors(synthesise(buckets(30))).length).toBeGreaterThan(0);
});

test('an e-mail address is subscribed only when given', () => {
  expect(plain.ofType('AWS::SNS::Subscription')).toEqual([]);
  const mailed = synthesise(testFleet, {}, { HOLDFAST_ALARM_EMAIL: 'ops@example.com' }).ofType(
    'AWS::SNS::Subscription',
  );
  expect(mailed.map(([, { Properties }]) => Properties.Endpoint)).toEqual(['ops@example.com']);
});

test('keys of KMS are used by functions that read secrets or buckets, and named one by one', () => {
  const key = 'arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555';
  const synthesised = synthesise(testFleet, {}, { HOLDFAST_KMS_KEY_ARNS: key });
  const keys = (actor: string) => statementsOf(synthesised, `holdfast-${actor}`).find(({ sid }) => sid === 'Keys')!;
  expect(keys('scrubber')).toMatchObject({ actions: ['kms:Decrypt'], resources: [key] });
  expect(keys('replicator').actions).toEqual(['kms:Decrypt', 'kms:GenerateDataKey']);
});

test('the keys of an encrypted fleet are used by the scrubber alone, to decrypt', () => {
  const former = 'arn:aws:kms:us-east-1:123456789012:key/99999999-2222-3333-4444-555555555555';
  const synthesised = synthesise({
    ...testFleet,
    encryption: { kmsKeyArn, decryptOnly: [{ kmsKeyArn: former }] },
  });
  const users = actors.flatMap((actor) =>
    statementsOf(synthesised, `holdfast-${actor}`)
      .filter(({ actions }) => actions.some((action) => action.startsWith('kms:')))
      .map(({ actions, resources }) => ({ actor, actions, resources })),
  );
  expect(users).toEqual([{ actor: 'scrubber', actions: ['kms:Decrypt'], resources: [kmsKeyArn, former] }]);
});

test('a function gets the parameters that were given, and the tables', () => {
  const name = `${parameterPrefix('scrubber')}_BATCH_SIZE`;
  const synthesised = synthesise(testFleet, { [name]: '7', OBJECTS_TABLE: 'other-objects' });
  for (const [, { Properties }] of synthesised.ofType('AWS::Lambda::Function')) {
    expect(Properties.Environment.Variables).toMatchObject({ [name]: '7', OBJECTS_TABLE: 'other-objects' });
    expect(Properties.Environment.Variables).not.toHaveProperty('REPLICATOR_BATCH_SIZE');
  }
});

test('cdk-nag finds nothing in the stack, and does find something in another', () => {
  const other = new App();
  new Bucket(new Stack(other, 'other'), 'Bucket');
  expect(new AwsSolutionsChecks().validateScope(other).success).toBe(false);
  expect(new AwsSolutionsChecks().validateScope(plain.app).violations).toEqual([]);
});
