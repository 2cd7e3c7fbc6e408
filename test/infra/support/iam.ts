import type { Synthesised } from './template.ts';

/** One statement of a role, worked out. */
export interface Statement {
  readonly sid: string;
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditions: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

interface RawStatement {
  readonly Sid?: string;
  readonly Effect: string;
  readonly Action: string | string[];
  readonly Resource: string | string[];
  readonly Condition?: Statement['conditions'];
}

/** What one API call needs to be allowed. */
export interface Need {
  readonly action: string;
  readonly resource: string;
  /** Condition keys that the request carries. */
  readonly context?: Readonly<Record<string, string>>;
}

/** The statements of the role of a function, by the function's name. */
export function statementsOf(synthesised: Synthesised, functionName: string): Statement[] {
  const { ofType, resources } = synthesised;
  const [, fn] = ofType('AWS::Lambda::Function').find(
    ([, { Properties }]) => Properties.FunctionName === functionName,
  )!;
  const roleId = fn.Properties.Role['Fn::GetAtt'][0] as string;
  const documents = (resources[roleId]!.Properties.Policies as { PolicyDocument: { Statement: unknown[] } }[]).flatMap(
    ({ PolicyDocument }) => PolicyDocument.Statement,
  );
  return statementsIn(synthesised, documents);
}

/** The statements of what was granted to a role, by its name in the stack. */
export function statementsGranted(synthesised: Synthesised, role: string): Statement[] {
  const policies = synthesised.ofType('AWS::IAM::Policy').map(([, { Properties }]) => Properties);
  const own = policies.filter(({ Roles }) => JSON.stringify(Roles).includes(`{"Ref":"${role}`));
  return statementsIn(
    synthesised,
    own.flatMap(({ PolicyDocument }) => PolicyDocument.Statement as unknown[]),
  );
}

function statementsIn({ resolve }: Synthesised, documents: readonly unknown[]): Statement[] {
  return documents.map((raw) => {
    const { Sid = '', Effect, Action, Resource, Condition = {} } = resolve(raw) as RawStatement;
    if (Effect !== 'Allow') throw new Error(`Statement ${Sid} does not allow`);
    return { sid: Sid, actions: [Action].flat(), resources: [Resource].flat(), conditions: Condition };
  });
}

/** The statement that allows a call, or undefined. */
export function allowing(statements: readonly Statement[], need: Need): Statement | undefined {
  return statements.find(
    ({ actions, resources, conditions }) =>
      actions.includes(need.action) &&
      resources.some((pattern) => matches(pattern, need.resource)) &&
      Object.entries(conditions).every(([operator, keys]) =>
        Object.entries(keys).every(([key, pattern]) => holds(operator, pattern, need.context?.[key])),
      ),
  );
}

function holds(operator: string, pattern: string, value: string | undefined): boolean {
  if (operator === 'StringLikeIfExists') return value === undefined || matches(pattern, value);
  if (operator === 'StringEquals' || operator === 'Bool') return value === pattern;
  if (operator === 'Null') return (value === undefined) === (pattern === 'true');
  throw new Error(`The test does not know the condition ${operator}`);
}

function matches(pattern: string, value: string): boolean {
  const escaped = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${escaped}$`, 's').test(value);
}
