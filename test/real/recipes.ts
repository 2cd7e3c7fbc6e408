import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** How one server is fetched and built by an ordinary package client. */
export interface Recipe {
  /** The client that must be on this machine. */
  readonly client: string;
  /** Puts everything into a folder that is empty before. */
  into(dir: string): Promise<void>;
}

/** Outside of the project: what was built once is there for every clone. */
export const cacheDir = process.env.HOLDFAST_REAL_CACHE || join(homedir(), '.cache', 'holdfast', 'real');

export function homeOf(name: string, version: string): string {
  return join(cacheDir, `${name}-${version}`);
}

/** Only whole: a build that was broken off leaves nothing by that name. */
export async function install(name: string, version: string, { into }: Recipe): Promise<void> {
  const home = homeOf(name, version);
  if (existsSync(home)) return;
  const unfinished = `${home}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  await into(unfinished);
  renameSync(unfinished, home);
}

/** A package of PyPI with what it needs, in a folder that moves with it. */
export function pip(requirement: string): Recipe {
  return {
    client: 'python3',
    async into(dir) {
      await run('python3', ['-m', 'pip', 'install', '--quiet', '--target', join(dir, 'packages'), requirement], dir);
    },
  };
}

/** A command of a Go module, built as part of one of ours: `go install` refuses modules that replace what they need. */
export function go(command: string, version: string): Recipe {
  return {
    client: 'go',
    async into(dir) {
      writeFileSync(join(dir, 'go.mod'), 'module holdfast.local/real\n\ngo 1.24\n');
      await run('go', ['get', `${command}@${version}`], dir);
      await run('go', ['build', '-trimpath', '-o', 'server', command], dir);
    },
  };
}

/** A crate's binary, with these features alone. A library that Debian has is not built, and its own tests not run, once more. */
export function cargo(crate: string, version: string, features: string): Recipe {
  const chosen = ['--no-default-features', '--features', features];
  const sodium = '/usr/lib/x86_64-linux-gnu';
  const env = existsSync(`${sodium}/libsodium.a`) ? { SODIUM_LIB_DIR: sodium, SODIUM_SHARED: '1' } : {};
  return {
    client: 'cargo',
    into: (dir) =>
      run('cargo', ['install', '--quiet', '--locked', '--root', dir, '--version', version, ...chosen, crate], dir, env),
  };
}

/**
 * Packages of a Debian suite with what they need, unpacked into a root of their own. Nothing is configured or started: only
 * programs are run there. A suite that moves may have another version by now: then it is left out.
 */
export function debian(suite: string, packages: readonly string[], version: string): Recipe {
  return {
    client: 'debootstrap',
    async into(dir) {
      const root = join(dir, 'root');
      await run('debootstrap', ['--variant=minbase', '--foreign', `--include=${packages.join()}`, suite, root], dir);
      const archives = join(root, 'var/cache/apt/archives');
      const found = readdirSync(archives).filter((file) => file.endsWith('.deb'));
      if (!found.some((file) => file.startsWith(`${packages[0]}_${version}`)))
        throw new Error(`Debian ${suite} has another version of ${packages[0]} now than ${version}`);
      for (const file of found) await run('dpkg-deb', ['-x', join(archives, file), root], dir);
      rmSync(archives, { recursive: true });
      await run('chroot', [root, 'ldconfig'], dir);
    },
  };
}

/** An artifact of Maven with what it needs, as jars. */
export function maven(group: string, artifact: string, version: string): Recipe {
  const coordinates = (g: string, a: string, v: string) =>
    `<groupId>${g}</groupId><artifactId>${a}</artifactId><version>${v}</version>`;
  return {
    client: 'mvn',
    async into(dir) {
      const dependency = `<dependencies><dependency>${coordinates(group, artifact, version)}</dependency></dependencies>`;
      const model = `<modelVersion>4.0.0</modelVersion>${coordinates('holdfast.local', 'real', '1')}`;
      writeFileSync(join(dir, 'pom.xml'), `<project>${model}${dependency}</project>\n`);
      const goal = ['dependency:copy-dependencies', `-DoutputDirectory=${join(dir, 'jars')}`, '-DincludeScope=runtime'];
      await run('mvn', ['--quiet', '--batch-mode', ...goal], dir);
    },
  };
}

/** At the lowest priority: nobody waits for it at a desk. */
function run(program: string, args: readonly string[], cwd: string, more: Record<string, string> = {}): Promise<void> {
  const env = { ...process.env, ...more };
  const child = spawn('nice', ['-n', '15', program, ...args], { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-2_000);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${program} ${args[0]} ended with ${code}: ${output.trim()}`)),
    );
  });
}
