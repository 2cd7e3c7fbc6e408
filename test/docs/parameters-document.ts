import { parameterPrefix, parameters, workerNames } from '../../lib/config/parameters.ts';
import { workerList } from '../../lib/config/workers.ts';

const intro = `# Parameters

Generated from \`lib/config/parameters.ts\` by \`npm run docs\`: do not edit.

Every parameter is an environment variable. Where it is not set, or empty, the default applies. A bad value is never
replaced by a default: every process refuses to start, and names all bad values at once.

\`holdfast set <NAME> <value>\` overrides a parameter for the whole fleet, without a deployment. A tick sees it when it
begins, the library within 5 seconds. \`holdfast unset <NAME>\` ends it. Two kinds cannot be set so: the names of tables,
and what belongs to the deployment (\`…_SCHEDULE\`, \`…_ENABLED\`, \`…_PARTS\`).

The AWS SDK's own variables are read as everywhere: \`AWS_REGION\`, \`AWS_ENDPOINT_URL_DYNAMODB\`, those for
credentials. \`HOLDFAST_FLEET\` and \`HOLDFAST_LOG\` are explained in [cli.md](cli.md), the credentials of backends in
[fleet-file.md](fleet-file.md).
`;

/** When each worker runs, and on what: what is deployed unless options say otherwise. */
function workersTable(): string {
  const rows = workerNames.map((name) => {
    const { every, timeoutSeconds, memoryMb, isOff } = workerList[name];
    return `| ${name}${isOff ? ' (off)' : ''} | ${every} | ${timeoutSeconds} s | ${memoryMb} MB | 1 |`;
  });
  const head = '| Worker | Runs every | Timeout | Memory | Parts |\n| --- | --- | --- | --- | --- |';
  return `## When the workers run\n\n${head}\n${rows.join('\n')}\n\n${changing}\n`;
}

const changing = `\`<WORKER>_SCHEDULE\`, \`<WORKER>_PARTS\` and \`<WORKER>_ENABLED\` below change this. The timeout and the memory of a
function are options of the deployment: \`<WORKER>_TIMEOUT_SECONDS\` and \`<WORKER>_MEMORY_MB\`
([deploy.md](deploy.md#options)).`;

/** `docs/parameters.md`, from the schema. */
export function parametersDocument(): string {
  const ofWorkers = workerNames.map((worker) => [worker, namesOf(worker)] as const);
  const inSections = new Set(ofWorkers.flatMap(([, names]) => names));
  const shared = Object.keys(parameters).filter((name) => !inSections.has(name));
  const sections = [['All workers and the library', shared] as const, ...ofWorkers];
  return `${intro}\n${workersTable()}\n${sections.map(([title, names]) => section(title, names)).join('\n')}`;
}

/** Names that begin as the worker's do: its own and those that every worker has. */
function namesOf(worker: (typeof workerNames)[number]): string[] {
  return Object.keys(parameters).filter((name) => name.startsWith(`${parameterPrefix(worker)}_`));
}

function section(title: string, names: readonly string[]): string {
  const rows = names.map((name) => {
    const { default: value, about } = parameters[name]!;
    return `| \`${name}\` | \`${value}\` | ${allowed(name)} | ${about.replaceAll('|', '\\|')} |`;
  });
  return `## ${title}\n\n| Name | Default | Allowed | Meaning |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}

/** What `parameterProblem` accepts, in words. */
function allowed(name: string): string {
  const { kind, min, max, oneOf } = parameters[name]!;
  switch (kind) {
    case 'flag':
      return '`true`, `false`';
    case 'table':
      return 'a DynamoDB table name';
    case 'ratio':
      return '0 to 1';
    case 'text':
      return oneOf === undefined ? '`rate(…)`, `cron(…)`' : oneOf.map((value) => `\`${value}\``).join(', ');
    case 'seconds':
      return `${min ?? 0} s to ${max === undefined ? 'a year' : `${max} s`}`;
    case 'days':
    case 'count':
      return `${min} to ${max}${kind === 'days' ? ' days' : ''}`;
  }
}
