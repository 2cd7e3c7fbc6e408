export function unusedActions(_use: string): string | undefined {
  return undefined;
}
