import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { githubFront } from "../../tests/fronts/github_front.ts";

conformanceSuite(githubFront);
