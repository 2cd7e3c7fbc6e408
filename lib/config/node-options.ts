/**
 * How Node is started where workers run. By itself it lets the youngest objects take 64 MiB before it looks which of them
 * are still needed; a worker needs few of them, and no CPU is saved by having more.
 */
export const nodeOptions = '--enable-source-maps --max-semi-space-size=4';
