import { App, Fn, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { type IVpc, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Code } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import { expect, test } from 'vitest';
import { HoldfastFleet, type HoldfastFleetProps, HoldfastTables } from '../../infra/index.ts';
import { packFleet, unpackFleet } from '../../lib/config/packed-fleet.ts';
import type { ConfigError } from '../../lib/config/problems.ts';
import { type Resource, type Synthesised, synthesise, testFleet } from './support/template.ts';

const code = () => Code.fromInline('exports.handler = async () => {};');
const onAws = {
  backends: [
    { name: 'east', bucket: 'my-east', credentials: 'role' as const },
    { name: 'west', region: 'us-west-2', bucket: 'my-west', credentials: 'role' as const },
  ],
  policies: { default: { factor: 2 } },
};

const standard = synthesise();

function stackWith(...fleets: (Partial<HoldfastFleetProps> & { readonly id?: string })[]) {
  const stack = new Stack(new App({ analyticsReporting: false }), 'somebodys');
  const created = fleets.map(
    ({ id = 'Fleet', ...props }) => new HoldfastFleet(stack, id, { fleet: onAws, code, ...props }),
  );
  return { stack, fleets: created };
}

function resourcesOf(stack: Stack): [string, Resource][] {
  return Object.entries(Template.fromStack(stack).toJSON().Resources as Record<string, Resource>);
}

function ofType(stack: Stack, type: string): Resource[] {
  return resourcesOf(stack).flatMap(([, resource]) => (resource.Type === type ? [resource] : []));
}

test('two fleets live in one stack of somebody else, and nothing of theirs has one name', () => {
  const { stack } = stackWith(
    { id: 'One', tables: { objects: 'one-o', queue: 'one-q', control: 'one-c' } },
    { id: 'Two', tables: { objects: 'two-o', queue: 'two-q', control: 'two-c' } },
  );
  for (const [type, name] of [
    ['AWS::Lambda::Function', 'FunctionName'],
    ['AWS::Logs::LogGroup', 'LogGroupName'],
    ['AWS::Scheduler::ScheduleGroup', 'Name'],
    ['AWS::CloudWatch::Alarm', 'AlarmName'],
    ['AWS::CloudWatch::Dashboard', 'DashboardName'],
  ] as const) {
    const names = ofType(stack, type).map(({ Properties }) => Properties[name]);
    expect(names.length, type).toBeGreaterThan(1);
    expect(new Set(names).size, type).toBe(names.length);
    for (const one of names) expect(String(one).length, one).toBeLessThanOrEqual(255);
  }
  for (const { Properties } of ofType(stack, 'AWS::Lambda::Function'))
    expect(Properties.FunctionName.length).toBeLessThanOrEqual(64);
});

test('ARNs may be known at deployment only: they reach the policies, and the fleet file that is applied', () => {
  const stack = new Stack(new App(), 'somebodys');
  const secretArn = StringParameter.valueForStringParameter(stack, '/holdfast/b2');
  const kmsKeyArn = Fn.importValue('fleet-key');
  new HoldfastFleet(stack, 'Fleet', {
    code,
    fleet: {
      backends: [{ name: 'b2', endpoint: 'https://s3.example.com', bucket: 'my-bucket', credentials: { secretArn } }],
      policies: { default: { factor: 1, encrypt: true } },
      encryption: { kmsKeyArn },
    },
  });
  const [{ Properties }] = ofType(stack, 'Custom::HoldfastFleet') as [Resource];
  const [[parameter]] = Object.entries(Template.fromStack(stack).toJSON().Parameters).filter(([, value]) =>
    JSON.stringify(value).includes('/holdfast/b2'),
  ) as [[string, unknown]];
  expect(Properties.values).toEqual([{ Ref: parameter }, { 'Fn::ImportValue': 'fleet-key' }]);
  const arn = 'arn:aws:secretsmanager:us-east-1:123456789012:secret:"b2"-AbCdEf';
  const applied = JSON.parse(unpackFleet({ fleet: Properties.fleet, values: [arn, 'arn:key'] }));
  expect(applied.backends[0].credentials).toEqual({ secretArn: arn });
  expect(applied.encryption).toEqual({ kmsKeyArn: 'arn:key' });
  const policies = JSON.stringify(ofType(stack, 'AWS::IAM::Role'));
  expect(policies).toContain(`{"Ref":"${parameter}"}`);
  expect(policies).toContain('{"Fn::ImportValue":"fleet-key"}');
});

test('every mistake is told at once, under the name of its property', () => {
  const wrong: Partial<HoldfastFleetProps> = {
    fleet: { ...onAws, policies: { default: { factor: 0 } } },
    logRetentionDays: 8,
    sizes: { scrubber: { timeoutSeconds: 901 } },
    alarms: { usedRatio: 2 },
    tuning: { SCRUBBER_PARTS: 17 },
  };
  let problems: readonly string[] = [];
  try {
    stackWith(wrong);
  } catch (error) {
    problems = (error as ConfigError).problems;
  }
  expect(problems.join('\n')).toMatch(/logRetentionDays is "8"/);
  expect(problems.join('\n')).toMatch(/sizes\.scrubber\.timeoutSeconds is "901"/);
  expect(problems.join('\n')).toMatch(/alarms\.usedRatio is "2"/);
  expect(problems.join('\n')).toMatch(/SCRUBBER_PARTS is "17"/);
  expect(problems.join('\n')).toMatch(/0 is below 1/);
});

test('without a fleet file nothing is deployed', () => {
  expect(() => stackWith({ fleet: '' })).toThrow(/There is no fleet file/);
  expect(() => stackWith({ fleet: '/nowhere/fleet.json' })).toThrow(/cannot be read/);
});

test('a topic, a network and keys of the owner are used as they are', () => {
  const stack = new Stack(new App(), 'somebodys');
  const topic = new Topic(stack, 'Mine');
  const key = new Key(stack, 'Key');
  const fleet = new HoldfastFleet(stack, 'Fleet', {
    fleet: onAws,
    code,
    topic,
    vpc: new Vpc(stack, 'Vpc') as IVpc,
    encryptionKeyArns: [key.keyArn],
    tables: new HoldfastTables(stack, 'Tables', { encryptionKey: key }),
  });
  expect(fleet.topic).toBe(topic);
  expect(ofType(stack, 'AWS::SNS::Topic')).toHaveLength(1);
  const functions = ofType(stack, 'AWS::Lambda::Function').filter(({ Properties }) => Properties.FunctionName);
  expect(functions).toHaveLength(8);
  for (const { Properties } of functions) expect(Properties.VpcConfig.SubnetIds.length).toBeGreaterThan(0);
  expect(Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('Nobody is subscribed'))).toEqual([]);
  const roles = JSON.stringify(ofType(stack, 'AWS::IAM::Role'));
  expect(roles.match(/"Sid":"TableKey"/g)).toHaveLength(8);
  expect(roles.match(/"Sid":"Network"/g)).toHaveLength(8);
});

test('nobody subscribed to the alarms is a warning', () => {
  const warned = (props: Partial<HoldfastFleetProps>) =>
    Annotations.fromStack(stackWith(props).stack).findWarning('*', Match.stringLikeRegexp('Nobody is subscribed'));
  expect(warned({})).toHaveLength(1);
  expect(warned({ alarms: { email: 'ops@example.com' } })).toEqual([]);
  expect(warned({ alarms: { off: 'all' } })).toEqual([]);
});

test('grantReadWrite gives an application the tables, secrets and buckets, and no deletion of bytes', () => {
  const { stack, fleets } = stackWith({ fleet: testFleet as HoldfastFleetProps['fleet'] });
  const role = new Role(stack, 'App', { assumedBy: new ServicePrincipal('ecs-tasks.amazonaws.com') });
  fleets[0]!.grantReadWrite(role);
  const [policy] = ofType(stack, 'AWS::IAM::Policy').filter(({ Properties }) =>
    JSON.stringify(Properties.Roles).includes('App'),
  );
  const statements = policy!.Properties.PolicyDocument.Statement as { Action: string | string[]; Resource: unknown }[];
  const actions = statements.flatMap(({ Action }) => Action);
  expect(actions).toEqual(
    expect.arrayContaining([
      'dynamodb:BatchGetItem',
      'dynamodb:PutItem',
      'dynamodb:Query',
      's3:GetObject',
      's3:PutObject',
    ]),
  );
  expect(actions).toContain('secretsmanager:GetSecretValue');
  expect(actions.filter((action) => /s3:DeleteObject|Tagging|Uploads|\*/.test(action))).toEqual([]);
  expect(JSON.stringify(statements)).not.toContain('ext-delete');
});

test('failing means in two of three periods, and stuck through two whole turns of the replicator: each was tried again then', () => {
  const alarms = synthesise(testFleet, { REPLICATOR_SCHEDULE: 'rate(1 hour)' })
    .ofType('AWS::CloudWatch::Alarm')
    .map(([, { Properties }]) => Properties);
  const failing = alarms.filter(({ AlarmName }) => /worker-failing/.test(AlarmName));
  expect(failing).toHaveLength(7);
  for (const alarm of failing) expect(alarm).toMatchObject({ EvaluationPeriods: 3, DatapointsToAlarm: 2 });
  expect(alarms.find(({ MetricName }) => MetricName === 'Stuck')).toMatchObject({
    Period: 3600,
    EvaluationPeriods: 2,
    Statistic: 'Minimum',
    Threshold: 0,
  });
});

test('what stays when the workers are destroyed or fail at first: nothing; of the data stack: the tables', () => {
  const { stack, data } = standard;
  expect(stack.terminationProtection).toBe(false);
  for (const [id, { DeletionPolicy }] of resourcesOf(stack)) expect(DeletionPolicy ?? 'Delete', id).toBe('Delete');
  expect(data.terminationProtection).toBe(true);
  for (const [, resource] of resourcesOf(data)) {
    expect(resource.Type).toBe('AWS::DynamoDB::Table');
    expect(resource).toMatchObject({ DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
    // A named table that stayed is taken up again by `cdk deploy --import-existing-resources`.
    expect(resource.Properties.TableName).toMatch(/^holdfast-/);
  }
});

test('a worker that is switched off, another name of the stack, another name of a table: what the next deployment does', () => {
  const resources = ({ resources: all }: Synthesised, type: string) =>
    Object.values(all).filter((one) => one.Type === type);
  const schedules = (one: Synthesised) =>
    resources(one, 'AWS::Scheduler::Schedule').filter(({ Properties }) => Properties.State === 'ENABLED').length;
  const without = synthesise(testFleet, { SCRUBBER_ENABLED: 'false' });
  expect(schedules(without)).toBe(schedules(standard) - 1);
  // Its function, role and log stay, so that it is switched on again by its schedule alone.
  const functions = (one: Synthesised) => resources(one, 'AWS::Lambda::Function').length;
  expect(functions(without)).toBe(functions(standard));

  const tableNames = (one: Synthesised) => resourcesOf(one.data).map(([, { Properties }]) => Properties.TableName);
  const renamed = synthesise(testFleet, {}, { HOLDFAST_STACK: 'other' });
  expect([renamed.stack.stackName, renamed.data.stackName]).toEqual(['other', 'other-data']);
  expect(tableNames(renamed)).toEqual(tableNames(standard));

  const elsewhere = synthesise(testFleet, { OBJECTS_TABLE: 'another' });
  const [before, after] = [standard, elsewhere].map((one) => resourcesOf(one.data));
  expect(tableNames(elsewhere)).toEqual(tableNames(standard).map((name) => name.replace(/.*-objects$/, 'another')));
  // The same resource with another name: CloudFormation makes a new table, and retains the old one.
  expect(after!.map(([id]) => id)).toEqual(before!.map(([id]) => id));
});

test('the stacks hold each other by names alone: either can be changed, renamed or destroyed without the other', () => {
  const { stack, data } = standard;
  for (const one of [stack, data]) {
    const template = Template.fromStack(one).toJSON();
    expect(JSON.stringify(template)).not.toContain('Fn::ImportValue');
    for (const output of Object.values((template.Outputs ?? {}) as Record<string, object>))
      expect(output).not.toHaveProperty('Export');
  }
  expect(stack.dependencies).toEqual([data]);
});

test('the roles are outputs, for the bucket policies of other accounts', () => {
  const outputs = Object.keys(Template.fromStack(standard.stack).toJSON().Outputs);
  expect(outputs).toEqual(expect.arrayContaining(['ApplyFunction', 'RoleApply', 'RoleReplicator', 'RoleCleanupQueue']));
});

test('a fleet file of 200 KB fits into an event of CloudFormation, and comes out as it went in', () => {
  const policies = Object.fromEntries(
    Array.from({ length: 3_100 }, (_, i) => [
      `policy-${i}`,
      { prefix: `customers/${(i * 7919) % 9973}/data-${i}/`, factor: 2 },
    ]),
  );
  const text = JSON.stringify({ ...onAws, policies: { default: { factor: 2 }, ...policies } });
  expect(text.length).toBeGreaterThan(190_000);
  const packed = packFleet(text);
  expect(packed.fleet.length).toBeLessThan(64_000);
  expect(unpackFleet(packed)).toBe(text);
});
