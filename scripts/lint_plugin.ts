/**
 * The house rules that `deno lint` does not know:
 *
 * - `private-field`: members are hidden by `#name`, which holds at run time, and not by `private` or `protected`.
 * - `function-declaration`: functions at the top of a module are declarations, not arrow functions in constants.
 *
 * (No enum, namespace or parameter property: `erasableSyntaxOnly` in deno.json sees to that.)
 *
 * @module
 */

/** The part of Deno's plugin interface used here, so that this file also type-checks without Deno's types. */
interface Context {
  report(report: { node: object; message: string }): void;
}
interface Rule {
  create(context: Context): Record<string, (node: object) => void>;
}

const rules: Record<string, Rule> = {
  "private-field": {
    create(context) {
      function report(node: object): void {
        context.report({ node, message: "Hide a member with #name, not with private or protected" });
      }
      return {
        ':matches(PropertyDefinition,MethodDefinition)[accessibility="private"]': report,
        ':matches(PropertyDefinition,MethodDefinition)[accessibility="protected"]': report,
      };
    },
  },
  "function-declaration": {
    create(context) {
      function report(node: object): void {
        context.report({ node, message: "Declare a function at the top of a module with the function keyword" });
      }
      return {
        "Program > VariableDeclaration > VariableDeclarator > ArrowFunctionExpression": report,
        "Program > ExportNamedDeclaration > VariableDeclaration > VariableDeclarator > ArrowFunctionExpression": report,
      };
    },
  },
};

export default { name: "offheap", rules };
