/** The entry of a fleet file for a backend in memory: what no test is about is filled in by its name. */
export function namedBackend<Given extends { readonly name: string }>(given: Given) {
  return {
    endpoint: `https://${given.name}.example.com`,
    bucket: `bucket-${given.name}`,
    credentials: 'role',
    ...given,
  };
}
