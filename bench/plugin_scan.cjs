// node plugin_scan.cjs PLUGIN SOURCE IMAGE_NAME: one scan by snyk-docker-plugin, its ScanResults as JSON on stdout.
const [plugin, path, imageNameAndTag] = process.argv.slice(2);

require(plugin).scan({ path, imageNameAndTag }).then(
  ({ scanResults }) => process.stdout.write(JSON.stringify(scanResults)),
  (error) => {
    process.stderr.write(`${error.stack ?? error}\n`);
    process.exitCode = 1;
  },
);
