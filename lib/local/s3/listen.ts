import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export const LOCALHOST = '127.0.0.1';

/** Resolves with the port once `server` listens on 127.0.0.1. */
export function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, LOCALHOST, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
