import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { nexusConnectorFront, nexusFront } from "../../tests/fronts/nexus_front.ts";

conformanceSuite(nexusConnectorFront);
conformanceSuite(nexusFront);
