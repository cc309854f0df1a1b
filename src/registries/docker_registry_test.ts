import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { basicFront, distributionFront, openFront } from "../../tests/fronts/docker_registry_front.ts";

conformanceSuite(distributionFront);
conformanceSuite(basicFront);
conformanceSuite(openFront);
