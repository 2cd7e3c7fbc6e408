import { existsSync } from 'node:fs';
import { resolve, sep } from 'node:path';
import { defined } from '../../base/defined.ts';
import { type Stack, startStack } from '../../local/stack.ts';
import type { Env } from '../../process/process.ts';
import { fleetText } from '../fleet-source.ts';
import { quoted, table } from '../format.ts';
import { wholeNumber } from '../numbers.ts';
import type { Arguments, Result, Session, VerbGroup } from '../session.ts';

interface LocalOptions {
  readonly backends?: number;
  readonly faults?: boolean;
}

/** `local`: the embedded stack, until a signal. */
export const localVerbs: VerbGroup = (program, verb) => {
  verb<LocalOptions>(
    program
      .command('local [dir]')
      .description('run DynamoDB and S3 servers on this machine, kept in a folder [.holdfast/local]')
      .option('--backends <n>', 'backends of a new stack [3]', wholeNumber(1, 16))
      .option('--faults', 'also open a port per backend that makes it misbehave'),
    local,
    'own',
  );
};

async function local(
  session: Session,
  [dir = '.holdfast/local']: Arguments,
  { backends, faults }: LocalOptions,
): Promise<Result> {
  const signalled = nextSignal();
  const text = givenFleet(session.env, dir);
  const stack = await startStack({
    dir,
    ...defined({ backends, fleetText: text }),
    withFaults: faults === true,
  });
  try {
    session.stdout.write(session.isJson ? `${JSON.stringify(documentOf(stack), null, 2)}\n` : describe(stack));
    await signalled;
  } finally {
    await stack.close();
  }
  return { text: '', document: undefined };
}

/** The fleet to serve; undefined when it is the one that the folder has, or would have. */
function givenFleet(env: Env, dir: string): string | undefined {
  const given = env.HOLDFAST_FLEET;
  if (given === undefined || given.trim() === '') return undefined;
  const isOwn = !given.trimStart().startsWith('{') && resolve(given).startsWith(resolve(dir) + sep);
  return isOwn && !existsSync(given) ? undefined : fleetText(given);
}

function nextSignal(): Promise<void> {
  return new Promise((done) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      // The first one ends the wait; others, from an impatient terminal, find the servers closing already.
      process.removeAllListeners(signal);
      process.on(signal, () => done());
    }
  });
}

function documentOf({ dynamodbEndpoint, fleetPath, env, backends }: Stack) {
  return {
    dynamodbEndpoint,
    fleet: fleetPath,
    env,
    backends: backends.map(({ name, bucket, folder, server }) => ({
      name,
      endpoint: server.endpoint,
      bucket,
      folder,
      ...defined({ control: server.controlEndpoint }),
    })),
  };
}

function describe({ env, backends, dir }: Stack): string {
  const exports = Object.entries(env).map(([name, value]) => `  export ${name}=${quoted(value)}`);
  const rows = backends.map(({ name, server, bucket, folder }) => [name, server.endpoint, bucket, folder]);
  return `The embedded stack runs in ${dir} until Ctrl-C. In another terminal:

${exports.join('\n')}
  npx holdfast init
  npx holdfast status

${table(['BACKEND', 'ENDPOINT', 'BUCKET', 'FILES'], rows)}
`;
}
