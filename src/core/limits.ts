/**
 * Every bound in one place, each with its reason. A bound that is hit gives an error that names it.
 *
 * @module
 */

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** All bounds. Sizes in bytes, times in milliseconds. */
export const LIMITS = {
  /** Manifests and indexes: regclient's bound; registries themselves refuse more than 4 MiB. */
  manifestBytes: 8 * MiB,
  /** Image configurations: thousands of history entries fit. */
  configBytes: 8 * MiB,
  /** Index in index in index: nobody builds deeper. */
  indexDepth: 2,
  /** Layers of one image: overlayfs itself stops far below. */
  layersPerImage: 1000,
  /** Error bodies are read to find a message, not to keep (go-containerregistry's bound). */
  errorBodyBytes: 64 * KiB,
  /** Characters of a registry's message that we pass on. */
  errorMessageChars: 500,
  /** Token answers: large JWTs stay below. */
  tokenBodyBytes: 1 * MiB,
  /** One page of a catalog or of a tag list; 1,000 long names fit many times. */
  pageBytes: 8 * MiB,
  /** Pages of one listing: 10 million tags. More is a loop. */
  pages: 10_000,
  /** Attestation blobs: in-toto statements with an embedded Dockerfile. */
  attestationBytes: 8 * MiB,
  /** Attestation statements kept per image (as snyk-docker-plugin does). */
  attestations: 10,
  /** Looks at a dependency while counting paths (results/frequent_packages.ts): a Debian with 740 packages needs 45,000. */
  dependencyPathSteps: 20_000_000,

  /** pax and GNU long-name records: modern-tar's bound; real ones are under 64 KiB. */
  tarExtensionBytes: 1 * MiB,
  /** Linux' PATH_MAX. */
  pathBytes: 4096,
  /** Entries of one layer: ten times the largest that we have seen. */
  layerEntries: 2_000_000,
  /** Paths and targets of one layer's links and whiteouts, with 160 bytes for each; about 140,000. Above it only path hashes. */
  layerLinkBytes: 32 * MiB,
  /** Paths (directories included) of one merged view: ten times the largest that we have seen; about 200 bytes each. */
  viewPaths: 500_000,
  /** Characters of all paths of one merged view together: a hundred for each of 400,000; deep trees repeat their parents. */
  viewPathChars: 40_000_000,
  /** Problems told per layer: a hostile layer could have one per entry. */
  layerProblems: 100,
  /** Links followed for one path, as Linux' own bound. */
  linkHops: 40,
  /** Work on a layer until other work gets its turn: a request waits for so long, at times twice. */
  layerWorkMs: 12,
  /** Uncompressed size of one layer. */
  layerTarBytes: 16 * GiB,
  /** Most that one stored byte may expand to within a window: DEFLATE's own ceiling is 1,032. */
  expansionRatio: 1100,
  /** Window over which the ratio is taken: short runs of zeros are normal. */
  expansionWindowBytes: 64 * MiB,
  /** zstd's window: the specification advises decoders to refuse more than 8 MiB, `--long` images need 128 MiB. */
  zstdWindowLog: 27,
  /** A wanted small file (manifest, lock file, os-release). */
  smallFileBytes: 16 * MiB,
  /** A package database; RHEL's with everything installed is about 200 MiB. */
  packageDatabaseBytes: 512 * MiB,
  /** Packages of one database: the largest installations have 8,000; the graph of 20,000 still fits the memory promise. */
  osPackages: 20_000,
  /** Dependencies and provided names of one database together: ten for each package. */
  osRelations: 200_000,
  /** One field of a text package database; the longest real Provides lines are below 100 KiB. */
  packageFieldBytes: 1 * MiB,
  /** Name or version of an operating system: they are repeated in the purl of every package. */
  osReleaseChars: 256,
  /** Index entries of one rpm header, as rpm itself bounds them. */
  rpmHeaderEntries: 50_000,
  /** One header blob of an rpm database: those of kernels and documentation with 100,000 files have about 10 MiB. */
  rpmHeaderBytes: 32 * MiB,
  /** Chisel's manifest without its compression: Ubuntu's largest has a line for each of 100,000 paths. */
  chiselManifestBytes: 64 * MiB,
  /** Layers after which the package database is read for layer attribution; each costs as much as the analysis itself. */
  attributedLayers: 200,
  /** A CREATE TABLE statement that is parsed; rpm's has 80 characters. Unclosed quotes make the cost quadratic. */
  sqliteSchemaChars: 8 * KiB,
  /** Content-set names in the purls of all packages together: a long list times many packages must not fill memory. */
  purlRepositoryChars: 32 * MiB,

  /** Bytes unpacked inside the archives of one layer (jars in jars): as much work as the largest layer itself. */
  layerUnpackedBytes: 16 * GiB,
  /** Levels of archives inside an archive that are read, whatever is asked for: each holds a decoder in memory. */
  archiveDepth: 16,
  /** Entries of one zip archive, those of archives inside it included; the largest application servers have 200,000. */
  zipEntries: 1_000_000,
  /** Entries of one zip archive that anything is kept of: pom.properties and jars, those of archives inside it included. */
  zipKeptEntries: 20_000,
  /** Characters of names and coordinates that are kept of one zip archive. */
  zipKeptChars: 4 * MiB,
  /** Most that archives inside a file may expand to, per byte of the file; real jars expand tenfold with all levels. */
  archiveExpansionRatio: 100,
  /** What they may expand to however small the file is: it is unpacked in one go, so it also bounds a pause. */
  archiveExpansionFloorBytes: 16 * MiB,
  /** A pom.properties; real ones have 100 bytes. */
  pomPropertiesBytes: 64 * KiB,
  /** A lock file of npm, Yarn or pnpm; large repositories have 3 MiB, and reading takes twenty times that. */
  nodeLockBytes: 6 * MiB,
  /** One in YAML (pnpm, Yarn 2), which takes thirty times that. */
  nodeYamlBytes: 4 * MiB,
  /** Lines and list entries of it: each takes memory, however short it is; 3,000 packages have 30,000. */
  nodeYamlValues: 250_000,
  /** A package.json; some packages publish their documentation in it, 200 KiB of it. */
  nodeManifestBytes: 1 * MiB,
  /** Steps from package to package while a graph of JavaScript packages is built; 2,000 packages need 300,000. */
  nodeGraphSteps: 5_000_000,
  /** Packages on the way from an application to a dependency; real ones are below 50. */
  nodeGraphDepth: 1_000,
  /** package.json files of one node_modules of which it is found out who needs whom; the largest that we saw has 6,000. */
  nodeModulesManifests: 15_000,
  /** Nodes of the graph of one node_modules, and packages on the way to all of them: cycles give packages several. */
  nodeGraphNodes: 50_000,
  nodeGraphWays: 500_000,
  /** Packages on the way to one in node_modules; only cycles make such ways longer than 50. */
  nodeModulesDepth: 250,
  /** Dependencies between the packages of one .NET application; large ones have 2,000. */
  nugetDependencies: 100_000,
  /** Fields in front of the description in a Python package's METADATA; matplotlib's licences have 80 KiB. */
  pythonHeaderBytes: 1 * MiB,
  /** Dependencies in the pip graphs of one image together: ten requirements.txt of 500 packages each have 50,000. */
  pythonDependencies: 500_000,
  /** A pyproject.toml or composer.json; the longest have 50 KiB. */
  projectManifestBytes: 1 * MiB,
  /** A poetry.lock or composer.lock; those of the largest applications have 2 MiB, and parsing takes ten times that. */
  projectLockBytes: 4 * MiB,
  /** Keys, tables and lists of a TOML file: each takes up to 800 bytes; a poetry.lock of 500 packages has 40,000. */
  tomlValues: 150_000,
  /** Values in a composer.lock: each takes up to 300 bytes; one of 100 packages has 10,000. */
  composerValues: 200_000,
  /** Places in the tree of a composer.lock: a package may stand in 150 with all that it needs; a Magento has 750,000. */
  composerTreePlaces: 3_000_000,
  /** Nodes of its graph: cycles give packages several. */
  composerGraphNodes: 50_000,
  /** One table of an ELF file, of its segments or sections; executables have some hundred entries of 64 bytes. */
  elfTableBytes: 256 * KiB,
  /** Either text of a Go executable's build info; Kubernetes' with 300 modules have 30 KiB. */
  goBuildInfoBytes: 1 * MiB,
  /** What is read of the file names of one Go executable; Kubernetes' have 2 MiB. */
  goFileTableBytes: 16 * MiB,
  /** Source files of one Go executable; Kubernetes' have 12,000. */
  goFiles: 200_000,
  /** Modules and packages that are told of one Go executable; Kubernetes' have 3,000. */
  goPackages: 50_000,
  /** Characters that are looked at to sort source files to modules; Kubernetes' cost some 4 million, names can be made to cost any. */
  goNameChars: 32_000_000,
  /** A text database of which every line is kept; above it, those that are read: a full desktop's has 8 MiB. */
  wholeTextBytes: 4 * MiB,
  /** The lines that are read of one above it: 60,000 Debian packages, or an apk database that names 400,000 files. */
  textLinesBytes: 32 * MiB,
  /** All wanted files of one layer together, so that many small ones cannot add up past memory. */
  keptBytes: 96 * MiB,
  /** Those of the layer that is read and of the layers below it that no layer has replaced: with the program, 256 MB. */
  imageKeptBytes: 144 * MiB,
  /** Layers of one image that are read at once: they hide each other's way from the registry, not the work. */
  layersAtOnce: 3,
  /** Scans that are begun beside those that wait for layers which other daemons read: the wait is over for all at once. */
  scansBesideIdle: 2,
  /** Stored bytes of a layer that is read before its turn: the way of a larger one is short beside what it costs. */
  aheadLayerBytes: 32 * MiB,
  /** Facts of a layer that is read before its turn: the package database of a UBI fits. One that has more is read in its turn. */
  aheadKeptBytes: 16 * MiB,
  /** A reading without its facts: the decoder's memory (0.6 MiB), buffers of connection and files, garbage of both. */
  layerBufferBytes: 2 * MiB,
  /** Reserved when a reading begins: with the facts of nearly every layer, so that it need not stop for more. */
  layerReserveBytes: 8 * MiB,
  /** Reserved for all readings of a process together: the one with the largest facts (keptBytes) leaves room for no other. */
  layersInFlightBytes: 96 * MiB,
  /** Members of an outer archive (docker save, OCI archive). */
  archiveMembers: 100_000,
  /** Small JSON members of a compressed archive kept in memory, so that reading them does not restart its inflation. */
  archiveCacheBytes: 16 * MiB,

  /** Head of an answer that the broker relays; Node.js takes 16 KiB, proxies add to it. */
  httpHeadBytes: 64 * KiB,
  /** Age after which a connection at rest is not used again: Node.js closes them after 5 s. */
  httpIdleMs: 4_000,
  /** Connections at rest for each origin: what 50 requests at once leave behind. */
  httpIdleConnections: 64,
  /** Time for an answer that came before the end of its request to be followed by that end. */
  httpSettleMs: 5_000,

  /** A websocket frame: Snyk's server refuses more than 21 MiB. */
  brokerFrameBytes: 22_020_096,
  /** Body of an answer that travels inside the websocket (SOCKET_MAX_RESPONSE_LENGTH). */
  brokerSocketResponseBytes: 20_971_520,
  /** Body of a callback, after inflation (the broker's own limit). */
  brokerRequestBodyBytes: 10 * MiB,
  /** JSON nesting in a frame: a bracket bomb costs more memory than the process may have. */
  jsonDepth: 64,
  /** Values in a frame: a flat 21 MiB array of `[]` would cost hundreds of megabytes; real frames hold dozens. */
  jsonValues: 100_000,
  /** Text in a large frame beside the bodies of requests, and one string of it: URL and headers have 320 KiB at most. */
  brokerTextBytes: 4 * MiB,
  /** Brokered requests served at once; above it the caller gets 503 instead of our memory. */
  brokerRequestsInFlight: 128,
  /** Time to the agent's answer: the server forgets the caller after an hour, so a later one helps nobody. */
  brokerAnswerTimeoutMs: 60 * 60_000,
  /** Refusals (503) waiting to be sent; each is one streaming id. Beyond it a request is only logged. */
  brokerRefusalsQueued: 10_000,
  /** Refusals sent at once: they must not take the network from the requests that are served. */
  brokerRefusalsInFlight: 8,
  /** Websocket answers held at once, one of the largest: each is four times in memory while it is sent. */
  brokerBytesInFlight: 24 * MiB,
  /** Request bodies held at once: one of the largest and many of the usual. Each is thrice in memory while the agent is sent it. */
  brokerBodyBytesInFlight: 16 * MiB,
  /** Longest time for which nothing is read from a websocket because there is no room for another body. */
  brokerHoldMs: 3_000,
  /** Part of an answer that is kept until the upload's connection stands: Deno's fetch reads 64 KiB ahead of it. */
  brokerUploadReplayBytes: 256 * KiB,
  /** Attempts to connect for one upload (the reference's number), and the wait between them. */
  brokerUploadAttempts: 3,
  brokerUploadRetryMs: 500,
  /** An upload that makes no progress for this long is dead (BROKER_CLIENT_POST_TIMEOUT). */
  brokerUploadIdleMs: 20 * 60_000,
  /** A session that lasted this long was a good one: the next reconnect starts from the shortest wait again. */
  brokerStableMs: 10_000,
  /** Wait for the websocket's closing handshake at the end; a dead peer never answers. */
  brokerCloseMs: 2_000,
  /** Bounds for the server's engine.io times, so that neither 0 nor 1e300 disables the watchdog. */
  brokerHeartbeatMinMs: 1_000,
  brokerHeartbeatMaxMs: 300_000,
  /** Path and query of a brokered request, and its header fields together: Node's HTTP side takes 16 KiB of both. */
  brokerUrlChars: 65_536,
  brokerHeaderChars: 256 * KiB,
  /** Bytes that may wait in a websocket whose peer does not read before nothing more is put there. */
  brokerSendBufferBytes: 1 * MiB,
  /** Characters of an engine.io ping that are sent back: the protocol's own is `probe`, an echo must not be a mirror. */
  brokerPingChars: 128,
  /** Least time between two answers to engine.io's pings while the peer does not read them. */
  brokerPongEveryMs: 1_000,
  /** Accept rules of one file, and characters of a pattern or of a value that is matched against one. */
  brokerRules: 2_000,
  brokerPatternChars: 4_096,
  brokerMatchedChars: 65_536,
  /** Text of an accept file; Snyk's largest has 60 KiB. */
  brokerRuleFileBytes: 1 * MiB,
  /** Uses of YAML aliases in it: a "billion laughs" document multiplies by them. */
  brokerRuleAliases: 100,
  /** Answer of the server that ACCEPT names. */
  brokerRuleFetchMs: 30_000,
  /** Accept rules are read anew this often (the reference's 24 h). */
  brokerRuleReloadMs: 24 * 60 * 60_000,
  /** One request of a preflight check, and the longest that connecting waits for all of them: they must not delay it. */
  preflightTimeoutMs: 5_000,
  preflightWaitMs: 1_000,
  /** Further attempts at a server that does not answer a check, and the wait before the first (the reference's). */
  preflightRetries: 3,
  preflightRetryMs: 100,
  /** Wait before an agent that could not be reached is asked again (the reference's). */
  brokerAgentRetryMs: 500,
  /** First attempt at the dispatcher of high availability mode: connecting waits for it. */
  brokerDispatcherTimeoutMs: 5_000,
  /** Waits before further attempts; the reference's first, and its longest for reconnecting. */
  brokerDispatcherRetryMinMs: 30_000,
  brokerDispatcherRetryMaxMs: 20 * 60_000,
  /** Its answer has a few hundred bytes. */
  brokerDispatcherBytes: 64 * KiB,
  /** One request to Snyk's API: an access token, the connections of a deployment, a renewal. */
  brokerApiTimeoutMs: 15_000,
  /** Its answer: a deployment of a hundred connections has some 200 KiB. */
  brokerApiBytes: 4 * MiB,
  /** Connections of one deployment, and contexts of one of them: two sockets each, and memory by their number. */
  brokerConnections: 100,
  brokerContexts: 1_000,
  /** Name and type of a connection: both are logged again and again. */
  brokerConnectionNameChars: 200,
  /** An access token is renewed this long before it expires (the reference's), and taken for this long when it does not say. */
  brokerTokenMarginMs: 60_000,
  brokerTokenLifetimeMs: 10 * 60_000,
  /** Longest time for which a token's own word is taken: a timer of days proves nothing. */
  brokerTokenLifetimeMaxMs: 24 * 60 * 60_000,
  /** Waits before another attempt at a token or at the list of connections. */
  brokerApiRetryMinMs: 1_000,
  brokerApiRetryMaxMs: 60_000,
  /** How often the connections are read again while none is open (the reference's). */
  brokerConnectionsPollMs: 60_000,
  /** Each socket's authorization is renewed this often (AUTH_EXPIRATION_OVERRIDE); the server closes it after 65 minutes. */
  brokerRenewalMs: 10 * 60_000,
  /** Failed renewals in a row after which it is an error; the reference ends its process. */
  brokerRenewalFailures: 3,
  /** Requests of a connection that was taken away may finish for so long. */
  brokerConnectionDrainMs: 30_000,
  /** The server drops a socket from which no message came for 35 s. */
  brokerPingIntervalMs: 25_000,
  /** Wait for a Primus pong. */
  brokerPongTimeoutMs: 10_000,
  /** Establishing the websocket. */
  brokerConnectTimeoutMs: 10_000,
  /** First wait before reconnecting. */
  brokerReconnectMinMs: 500,
  /** Longest wait between two attempts: an outage must not become a storm, nor an hour of silence. */
  brokerReconnectMaxMs: 60_000,
  /** Wait for the acknowledgement of a callback. */
  brokerAckTimeoutMs: 60_000,

  /** One export of metrics with its repetitions, as the OTLP exporters' OTEL_EXPORTER_OTLP_TIMEOUT. */
  metricsExportMs: 10_000,
  /** The last export at the end: within shutdownMs, behind all that matters more. */
  metricsLastExportMs: 1_000,
  /** How often the event loop's delay is sampled where it is told, and samples of one interval: those of ten minutes. */
  loopDelaySampleMs: 100,
  loopDelaySamples: 6_000,

  /** Body of a request to the agent routes. */
  requestBodyBytes: 10 * MiB,
  /** Images in one scan request. */
  imagesPerScan: 1000,
  /** Accepted scan requests that wait: at a second each, a quarter of an hour. */
  queuedScans: 1000,
  /** Times that one image is begun: a registry's bad minute passes, an image that ends the process does not. */
  scanAttempts: 3,
  /** Waits between them, with the registry client's own retries inside each. */
  scanRetryMinMs: 5_000,
  scanRetryMaxMs: 10 * 60_000,
  /** After so long without a sign of life a scan counts as abandoned: another daemon goes on with it. */
  jobLeaseMs: 15_000,
  /** How often a sign of life is given: two may be missed. */
  jobHeartbeatMs: 5_000,
  /** Callbacks on their way at once, each of another job. */
  callbacksInFlight: 4,
  /** Packed results of undelivered callbacks: above it no scan begins until some are delivered. */
  pendingResultBytes: 1 * GiB,
  /** The same where they are kept in memory. */
  pendingResultMemoryBytes: 16 * MiB,
  /** Packed results that are kept for retests where they are in memory. */
  resultMemoryBytes: 8 * MiB,
  /** Attempts at a bucket of NATS that another daemon is making: it is done after a few, each takes two ways to the server. */
  bucketAttempts: 100,
  /** First and longest wait before another attempt at a store that cannot be written. */
  storeRetryMinMs: 250,
  storeRetryMaxMs: 5_000,
  /** Wait for NATS to answer at the start: its name, its port, TLS and login. */
  queueConnectMs: 10_000,
  /** Wait for an acknowledgement of JetStream: a cluster elects a leader within seconds. */
  queueAnswerMs: 5_000,
  /** Between attempts to reach NATS again. */
  queueReconnectMs: 500,
  /** How often it is asked whether a watch still lives: in a cluster it may end with the server that kept it. */
  queueWatchCheckMs: 10_000,
  /** Daemons that change the same job at once each have their turn after as many attempts as there are daemons. */
  queueConflicts: 100,
  /** A request that is longer is kept beside its job, whose record is written anew with each change. */
  queueInlineRequestBytes: 4 * KiB,
  /** Pieces of what is larger than a message of NATS may be (1 MiB, unless the server says otherwise). */
  queuePieceBytes: 256 * KiB,
  /** Records of jobs above it are packed: those of requests for many images. */
  queuePackedRecordBytes: 8 * KiB,
  /** Longest record of a job, unpacked: 1,000 images with two kilobytes each of keys and errors. */
  queueRecordBytes: 4 * MiB,
  /** That a result was used is written no more often. */
  queueResultTouchMs: 10 * 60_000,
  /** Jobs that are taken away from a shared store at once: 3 s of requests, in which no lease is prolonged; soon more. */
  queuePurgedJobs: 1_000,
  /** Requests to NATS that are under way at once while many entries are read or taken away. */
  queueRequestsAtOnce: 32,
  /** Age and size of what has ended are looked at so often. */
  retentionEveryMs: 60 * 60_000,
  /** Jobs of one answer of `/api/jobs`. */
  listedJobs: 1_000,
  /** Facts of one layer that are stored, unpacked: reading them takes twice as much for a moment. Real ones have up to 20 MiB. */
  storedFactsBytes: 32 * MiB,
  /** Bytes that are packed or unpacked in one go: some milliseconds. */
  packedChunkBytes: 256 * KiB,
  /** One message of the facts that daemons share: half of what nats-server takes by default. */
  sharedFactsChunkBytes: 512 * KiB,
  /** Facts that daemons share count as used at most this often: each time is a small write. */
  sharedFactsTouchMs: 10 * 60_000,
  /** After so long without a sign of life the reading of a layer counts as abandoned, and another daemon begins it. */
  layerLockMs: 15_000,
  /** How often a sign of life is given: two may be missed. */
  layerLockHeartbeatMs: 5_000,
  /** Marks of released and abandoned layer locks are forgotten after this time. */
  layerLockKeptMs: 24 * 60 * 60_000,
  /** Wait for one answer of JetStream about facts and locks of layers: several fit into a lock's time. */
  layerStoreAnswerMs: 3_000,

  /** TCP and TLS set-up towards a registry, and time to its response head. */
  connectTimeoutMs: 10_000,
  responseTimeoutMs: 30_000,
  /** A body that makes no progress for this long is dead. */
  noProgressMs: 30_000,
  /** One whole scan. */
  scanTimeoutMs: 30 * 60_000,
  /** Requests at once per registry host. */
  requestsPerHost: 4,
  /** Attempts for an idempotent request. */
  attempts: 4,
  /** First retry wait; doubles, with jitter. */
  retryMinMs: 1_000,
  retryMaxMs: 60_000,
  /** Longest Retry-After that a waiting caller accepts; beyond it the call fails with the time. */
  retryAfterMaxMs: 30_000,
  /** Redirects followed for a blob. */
  redirects: 5,
  /** Times that a broken blob download is resumed without new bytes in between. */
  resumesWithoutProgress: 3,
  /** New bytes that make a resumed download count as progressing: a server that cuts after each byte does not. */
  resumeProgressBytes: 64 * KiB,
  /** Bytes that must arrive within noProgressMs; fewer is a drip that would hold a connection for days. */
  progressBytes: 16 * KiB,
  /** A token is renewed after this time even when it lives longer: registries restart and forget. */
  tokenLifetimeMs: 5 * 60_000,
  /** A token is renewed this long before it expires, so that it does not expire on its way. */
  tokenMarginMs: 10_000,
  /** Life of a token whose answer does not say (distribution's token specification). */
  tokenDefaultLifetimeMs: 60_000,
  /** Tokens kept per registry client: one per repository. */
  tokens: 1000,
  /** Names that one listing may give: a registry that invents them cannot fill the memory. */
  listedNames: 1_000_000,
  /** Pages without a new name that are followed in one listing: registries filter pages by the account's rights. */
  emptyPages: 16,
  /** Repositories per page: Quay and docker-registry serve no more. */
  catalogPageSize: 100,
  /** Tags per page: ECR refuses more. */
  tagsPageSize: 1000,
  /** A password of ECR that is refused sooner after its renewal lacks rights: it is not renewed again. */
  ecrRenewalMs: 60_000,
  /** HEAD requests at once for the digests of tags. */
  metadataRequests: 4,
  /** Registry clients kept (one per credential hash). */
  registryClients: 64,

  /** A callback that nobody took for this long is given up: it can be sent again by hand (`outpost jobs retry`). */
  callbackGiveUpMs: 24 * 60 * 60_000,

  /** The whole demo on a slow machine; it takes seconds. */
  demoMs: 120_000,

  /** Time for the last messages to leave when a defect ends the process. */
  crashNoticeMs: 200,
  /** SIGTERM to exit: below Kubernetes' 30 s. */
  shutdownMs: 25_000,
  /** Part of it in which a running scan may finish; the rest is for callbacks, answers and sockets. */
  shutdownScansMs: 18_000,
  /** Part of it after which answers are cut off; the rest is for websockets whose peer does not close its side. */
  shutdownAnswersMs: 22_000,
} as const;
