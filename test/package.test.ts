import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const dir = mkdtempSync(join(tmpdir(), 'holdfast-package-'));
const app = join(dir, 'app');
/** What `npm pack` and the build need; copied, so that the build disturbs nobody. */
const sources = ['lib', 'functions', 'bin', 'docs', 'test', 'infra'].concat([
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
]);
const rawKey = Buffer.alloc(32, 7).toString('base64');
const fleet = {
  backends: ['a', 'b'].map((name) => ({ name, bucket: `bucket-${name}`, credentials: 'role' })),
  policies: { default: { factor: 2 }, secret: { prefix: 'secret/', factor: 2, encrypt: true } },
  encryption: { rawKeyEnv: 'APP_KEY' },
};
let packed: string[] = [];
let stack: ChildProcess | undefined;
let env: NodeJS.ProcessEnv = {};

interface Ran {
  readonly stdout: string;
  readonly stderr: string;
}

/** The environment of a user: what reaches the registry, this Node first, nothing that npm or vitest put there for us. */
function userEnv(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(npm_(?!config_)|VITEST|NODE_ENV|NODE_OPTIONS)/.test(name),
  );
  return { ...Object.fromEntries(own), PATH: `${dirname(process.execPath)}:${process.env.PATH}`, ...env };
}

async function run(program: string, args: readonly string[], cwd = app): Promise<Ran> {
  return promisify(execFile)(program, [...args], { cwd, env: userEnv(), maxBuffer: 64 * 1024 * 1024 });
}

async function pack(): Promise<string> {
  const project = join(dir, 'project');
  mkdirSync(project);
  for (const name of sources) cpSync(join(root, name), join(project, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(project, 'node_modules'));
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', dir], project).catch((error: Ran) => {
    throw new Error(`npm pack failed:\n${error.stdout}\n${error.stderr}`);
  });
  // What the build prints comes first.
  const [archive] = JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [
    { filename: string; files: { path: string }[] },
  ];
  packed = archive.files.map(({ path }) => path);
  return join(dir, archive.filename);
}

async function install(tarball: string): Promise<void> {
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));
  try {
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball]);
  } catch (error) {
    throw new Error(
      `The package could not be installed into an empty project. Its dependencies come from npm's registry, or from npm's cache where there is none: is either there?\n${(error as Ran).stderr}`,
    );
  }
}

/** `npx holdfast local`, from the installed package. */
async function startStack(): Promise<void> {
  stack = spawn('npx', ['holdfast', 'local', 'stack', '--json'], {
    cwd: app,
    env: { ...userEnv(), HOLDFAST_FLEET: JSON.stringify(fleet) },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  let output = '';
  for await (const chunk of stack.stdout!) {
    output += chunk;
    if (output.includes('\n}\n')) break;
  }
  env = { ...(JSON.parse(output) as { env: Record<string, string> }).env, APP_KEY: rawKey };
}

beforeAll(async () => {
  await install(await pack());
  await startStack();
  await run('npx', ['holdfast', 'init']);
});

afterAll(async () => {
  if (stack !== undefined) {
    const exited = once(stack, 'exit');
    process.kill(-stack.pid!, 'SIGTERM');
    await exited;
  }
  rmSync(dir, { recursive: true, force: true });
});

test('the package holds the build, the command, the docs, and nothing else', () => {
  expect(packed).toEqual(
    expect.arrayContaining([
      'package.json',
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'bin/holdfast.js',
      'dist/lib/index.js',
      'dist/lib/index.d.ts',
      'dist/lib/cli/main.js',
      'dist/functions/handler.js',
      'dist/infra/index.js',
      'dist/infra/index.d.ts',
      'dist/lambda/replicator/index.mjs',
      'dist/lib/console/page/page.js',
      'dist/lib/console/page/page.css',
    ]),
  );
  const expected =
    /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|bin\/holdfast\.js|docs\/.+\.(md|json|png)|dist\/(lib|functions|infra)\/.+\.(js|d\.ts)|dist\/lib\/console\/page\/page\.css|dist\/lambda\/[a-z-]+\/.+\.(mjs|cjs|map|json))$/;
  expect(packed.filter((path) => !expected.test(path))).toEqual([]);
  expect(packed.filter((path) => /\/(demo|test)\//.test(path))).toEqual([]);
});

test('the installed command says its version and works on a fleet', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  expect((await run('npx', ['holdfast', '--version'])).stdout.trim()).toBe(version);
  writeFileSync(join(app, 'hello.txt'), 'hello');
  await run('npx', ['holdfast', 'put', 'greetings/hello', 'hello.txt']);
  await run('npx', ['holdfast', 'tick', 'replicator']);
  const located = JSON.parse((await run('npx', ['holdfast', 'locate', 'greetings/hello', '--json'])).stdout);
  expect(located.copies.map(({ backend }: { backend: string }) => backend)).toEqual(['a', 'b']);
});

test('the installed command serves the console’s page, as it was built', async () => {
  const child = spawn('npx', ['holdfast', 'console', '--json'], { cwd: app, env: userEnv(), detached: true });
  const exited = once(child, 'exit');
  let output = '';
  for await (const chunk of child.stdout!) {
    output += chunk;
    if (output.includes('\n')) break;
  }
  const { url } = JSON.parse(output) as { url: string };
  const page = await (await fetch(url)).text();
  const script = await fetch(new URL(/src="([^"]+)"/.exec(page)![1]!, url));
  expect(script.status).toBe(200);
  expect(await script.text()).toContain('Under-replicated');
  process.kill(-child.pid!, 'SIGTERM');
  await exited;
});

test('createHoldfast of the installed package puts and gets, in parts and encrypted too', async () => {
  env = { ...env, MULTIPART_ABOVE_BYTES: '5242880', PART_BYTES: '5242880' };
  writeFileSync(
    join(app, 'use.js'),
    `import { createHoldfast } from 'holdfast';
const holdfast = createHoldfast();
const contents = { small: Buffer.from('hello'), big: Buffer.alloc(11e6, 'many parts '), 'secret/note': Buffer.from('hush') };
for (const [key, content] of Object.entries(contents)) {
  await holdfast.put(key, content);
  const chunks = [];
  for await (const chunk of (await holdfast.get(key)).body) chunks.push(chunk);
  if (!Buffer.concat(chunks).equals(content)) throw new Error(key + ' differs');
}
const keys = [];
for await (const { key } of holdfast.list('s')) keys.push(key);
console.log(JSON.stringify(keys));
await holdfast.close();
`,
  );
  expect(JSON.parse((await run(process.execPath, ['use.js'])).stdout)).toEqual(['secret/note', 'small']);
  const ticked = JSON.parse((await run('npx', ['holdfast', 'tick', 'replicator', '--json'])).stdout);
  expect(ticked).toMatchObject({ outcome: 'success', failed: 0 });
  const scrubbed = await run('npx', ['holdfast', 'scrub', 'big', '--json']);
  expect(JSON.parse(scrubbed.stdout).verdicts).toHaveLength(2);
});

test('the installed types resolve for a strict program', async () => {
  writeFileSync(
    join(app, 'typed.ts'),
    `import { createHoldfast, type Holdfast, HoldfastError, planPackTight, type PutResult } from 'holdfast';
export async function save(holdfast: Holdfast): Promise<PutResult> {
  try {
    return await holdfast.put('a', new Uint8Array(3), { headers: { contentType: 'text/plain' } });
  } catch (error) {
    if (error instanceof HoldfastError && error.kind === 'no-backend') throw new Error('later');
    throw error;
  }
}
// @ts-expect-error a key is a string
export const wrong = () => createHoldfast().get(3);
export const moves: readonly { readonly key: string }[] = planPackTight({ backends: [], objects: {}, batchSize: 1 });
`,
  );
  expect(await compiled('typed.ts', { exactOptionalPropertyTypes: true })).toBe('');
});

/** What the compiler says of a file, in a project for Node as any other. */
async function compiled(file: string, more: Readonly<Record<string, boolean>>): Promise<string> {
  const options = {
    strict: true,
    module: 'nodenext',
    target: 'es2024',
    noEmit: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules', '@types')],
    ...more,
  };
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: [file] }));
  return run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', '.']).then(
    () => '',
    (error: Ran) => error.stdout,
  );
}

/** `cdk` is the user's own tool; here it is run as an app is: synthesis alone, without account or network. */
const cdkApp = `import { App, Duration } from 'aws-cdk-lib';
import { HoldfastDataStack, HoldfastWorkersStack } from 'holdfast/cdk';
const app = new App();
const data = new HoldfastDataStack(app, 'my-data');
const workers = new HoldfastWorkersStack(app, 'my-workers', {
  fleet: { backends: [{ name: 'east', bucket: 'my-east', credentials: 'role' }], policies: { default: { factor: 1 } } },
  alarms: { email: 'ops@example.com' },
  sizes: { scrubber: { memoryMb: 2048 } },
});
workers.addStackDependency(data);
app.synth();
`;

test('ten lines with the installed package synthesise two stacks, in TypeScript and in JavaScript, offline', async () => {
  for (const name of ['aws-cdk-lib', 'constructs'])
    symlinkSync(join(root, 'node_modules', name), join(app, 'node_modules', name));
  writeFileSync(join(app, 'stack.js'), cdkApp);
  writeFileSync(join(app, 'stack.ts'), cdkApp.replace('{ App, Duration }', '{ App }'));
  const out = join(app, 'cdk.out');
  env = { ...env, CDK_OUTDIR: out, HTTPS_PROXY: 'http://127.0.0.1:9', HTTP_PROXY: 'http://127.0.0.1:9' };
  // What `npm init -y` makes is CommonJS.
  const required = cdkApp.replaceAll(/import (\{.+\}) from ('.+');/g, 'const $1 = require($2);');
  writeFileSync(join(app, 'stack.cjs'), required);
  for (const file of ['stack.cjs', 'stack.js']) {
    rmSync(out, { recursive: true, force: true });
    await run(process.execPath, [file]);
  }
  const templateOf = (stack: string) => JSON.parse(readFileSync(join(out, `${stack}.template.json`), 'utf8'));
  const types = (stack: string) =>
    Object.values(templateOf(stack).Resources as Record<string, { Type: string }>).map(({ Type }) => Type);
  expect(types('my-data')).toEqual(Array(3).fill('AWS::DynamoDB::Table'));
  expect(types('my-workers').filter((type) => type === 'AWS::Lambda::Function').length).toBeGreaterThanOrEqual(8);
  expect(await compiled('stack.ts', { skipLibCheck: true })).toBe('');
}, 120_000);
