/** `tls-front.ts <key> <certificate> <port>...`: ends TLS in front of ports of this machine; prints the ports it listens on. */
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { createServer } from 'node:tls';

const [keyPath, certificatePath, ...ports] = process.argv.slice(2);
const identity = { key: readFileSync(keyPath!), cert: readFileSync(certificatePath!) };

const fronts = ports.map(Number).map(
  (port) =>
    new Promise<number>((resolve) => {
      const front = createServer(identity, (outside) => {
        const inside = connect(port, '127.0.0.1');
        for (const [one, other] of [
          [outside, inside],
          [inside, outside],
        ] as const) {
          one.on('error', () => other.destroy()).on('close', () => other.destroy());
          one.setNoDelay(true).pipe(other);
        }
      });
      front.listen(0, '127.0.0.1', () => resolve((front.address() as AddressInfo).port));
    }),
);
process.stdout.write(`${JSON.stringify(await Promise.all(fronts))}\n`);
