import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { harborFront } from "../../tests/fronts/harbor_front.ts";

conformanceSuite(harborFront);
