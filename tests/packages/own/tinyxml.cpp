// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// A document that ends behind white space of its declaration, and one that ends within a character: the library is to
// come back. The argument is the fix that is in: without it the one aborts, and the other never ends.
#include <cstring>
#include <tinyxml.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	const char *fix = count == 2 ? arguments[1] : "";
	TiXmlDocument document;

	alarm(30);
	document.Parse("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a>\xef\xbc\xa1\n<b c='d'/></a>");
	if (document.Error() || std::strcmp(document.RootElement()->GetText(), "\xef\xbc\xa1") != 0 ||
	    document.RootElement()->FirstChildElement()->Row() != 3)
		return 1;
	if (std::strcmp(fix, "CVE-2021-42260.patch") == 0) {
		TiXmlDocument wrong;

		wrong.Parse("<a b=\xef/", nullptr, TIXML_ENCODING_UTF8);
		if (wrong.ErrorId() != TiXmlBase::TIXML_ERROR_PARSING_EMPTY || wrong.ErrorCol() != 7)
			return 2;
	} else if (std::strcmp(fix, "CVE-2023-34194.patch") == 0) {
		TiXmlDocument wrong;

		wrong.Parse("<?xml version=\"1.0\" ");
		if (wrong.FirstChild() == nullptr || wrong.RootElement() != nullptr ||
		    std::strcmp(wrong.FirstChild()->ToDeclaration()->Version(), "1.0") != 0)
			return 3;
	} else {
		return 4;
	}
	return 0;
}
