import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { gitlabFront, selfManagedFront } from "../../tests/fronts/gitlab_front.ts";

conformanceSuite(gitlabFront);
conformanceSuite(selfManagedFront);
