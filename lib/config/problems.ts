/** Bad input, with every problem found at once: one sentence each, naming the value and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  constructor(what: string, problems: readonly string[]) {
    super(
      problems.length === 1 ? `${what}: ${problems[0]}` : `${what}:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    );
    this.problems = problems;
  }
}
