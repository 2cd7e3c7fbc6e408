import type { AddressInfo, Server } from 'node:net';

/** Lets a server listen on a free port of 127.0.0.1; returns its address as an endpoint. */
export async function listenOnLoopback(server: Server): Promise<string> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
