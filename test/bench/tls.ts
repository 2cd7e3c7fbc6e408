import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';

/** A process that ends TLS in front of other servers. */
export interface TlsFront {
  readonly child: ChildProcess;
  /** Its certificate, which is its own authority. */
  readonly certificatePath: string;
  /** `https://` endpoints, in the order of what is behind them. */
  readonly endpoints: readonly string[];
}

/** Puts TLS in front of endpoints of this machine, and has this process trust it; null where there is no `openssl`. */
export async function startTlsFront(endpoints: readonly string[], dir: string): Promise<TlsFront | null> {
  const [keyPath, certificatePath] = [join(dir, 'key.pem'), join(dir, 'certificate.pem')];
  const subject = ['-subj', '/CN=holdfast-bench', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const files = ['-keyout', keyPath, '-out', certificatePath];
  const certificate = spawnSync('openssl', ['req', '-x509', '-days', '2', ...curve, ...subject, ...files]);
  if (certificate.status !== 0) return null;
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(certificatePath, 'utf8')]);
  const ports = endpoints.map((endpoint) => new URL(endpoint).port);
  const script = resolve(import.meta.dirname, 'tls-front.ts');
  const child = spawn(process.execPath, [script, keyPath, certificatePath, ...ports], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface(child.stdout!)) {
    const listening = JSON.parse(line) as number[];
    return { child, certificatePath, endpoints: listening.map((port) => `https://127.0.0.1:${port}`) };
  }
  throw new Error('What ends TLS did not start');
}
